"""Origin of an unexpected error, as a text without secrets."""

from pathlib import PurePath


def origin(error: BaseException) -> str:
    """Return an error's name and where it was raised, without its text: that may quote a Secret.

    Of a group, it returns this for each of its errors.
    """
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(origin(each) for each in error.exceptions)
    place, traceback = "", error.__traceback__
    while traceback is not None:
        file = PurePath(traceback.tb_frame.f_code.co_filename).name
        place, traceback = f" in {file}:{traceback.tb_lineno}", traceback.tb_next
    return f"{type(error).__name__}{place}"
