"""All that can go wrong on a person's side: one class and its kinds, each message one sentence for the user."""

from __future__ import annotations


class DalaError(Exception):
    """One sentence for the user; nothing is recognised by the name of its class."""


class WeightsError(DalaError):
    """The weights or their card are missing, damaged, altered or of another network; the message says which."""


class SiteError(WeightsError):
    """A site file is missing, damaged, of other weights or none at all, or a site's name cannot be one."""


class IntakeError(DalaError, ValueError):
    """An image that cannot be taken; the message is one sentence for the person who handed it in."""


class EmptyFile(IntakeError):
    """There are no bytes."""


class UnreadableImage(IntakeError):
    """The file cannot be opened, or its content is damaged or incomplete."""


class UnsupportedFormat(IntakeError):
    """The content is not one of the accepted formats, or holds a kind of pixel that cannot be shown faithfully."""


class TooLarge(IntakeError):
    """More bytes or pixels than are accepted."""


class TooSmall(IntakeError):
    """Fewer pixels than a network can look at, or none."""


class SlideError(IntakeError):
    """A slide that cannot be opened, told the scale of, or scanned. `name` says why to a program: it is one word for
    every sentence, such as "no_pixel_size"."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(name, sentence)  # both, so that it passes from one process to another
        self.name = name

    def __str__(self) -> str:
        return str(self.args[1])


class DataError(DalaError, ValueError):
    """The data cannot be used as asked; the message is one sentence for the person who asked."""


class BackboneError(DalaError):
    """The ImageNet weights cannot be had from the named source, or are not a ResNet50's."""


class EngineError(WeightsError):
    """The engine that was asked for does not exist or cannot run here: to a caller, weights that cannot be loaded."""


class RuleError(DalaError, ValueError):
    """The rule does not exist, or its parameter is not a number in the rule's range: one sentence for the user."""


class ReportError(DalaError, ValueError):
    """A comment that is too long, or a file that is no report of this tool: one sentence for the user."""


class EvidenceError(DalaError):
    """A result file cannot be shown; the message says which and what writes it anew."""


class CaseError(DalaError, ValueError):
    """A case cannot be kept, changed or read as asked: one sentence for the user."""


class NotFound(CaseError):
    """There is no such case for this person: the same words whether it does not exist or is somebody else's."""


class Forbidden(CaseError):
    """This person may see a case or deck, and may not do this with it."""


class QuotaReached(CaseError):
    """More than one person may keep."""


class StoreError(DalaError):
    """The store of cases does not answer, is full, damaged, of another version or wrongly configured."""
