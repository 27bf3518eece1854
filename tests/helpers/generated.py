"""How many examples a test of generated input tries."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=100)
settings.register_profile("quick", deadline=None, max_examples=10)


def examples(count: int) -> settings:
    """A decorator: `count` examples, and a tenth of them with `--hypothesis-profile quick`."""
    return settings(max_examples=count * settings.default.max_examples // 100)
