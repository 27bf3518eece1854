"""A run of a page while another one is wanted."""

from __future__ import annotations

from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx


def another_run_is_wanted() -> None:
    """As when the browser sends something while this run is on its way: Streamlit ends this one where it next asks."""
    context = get_script_run_ctx()
    assert context is not None and context.script_requests is not None
    context.script_requests.request_rerun(
        RerunData(query_string=context.query_string, page_script_hash=context.page_script_hash)
    )
