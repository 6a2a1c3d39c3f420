"""Every exception and warning of the library; each message says what was found, what was expected, what to do."""


class RecscaleError(Exception):
    """Base of every error that recscale_dask raises on purpose."""


class DataError(RecscaleError, ValueError):
    """Input data cannot be used: a missing column, a bad line, a value that is not finite."""


class OptionError(RecscaleError, ValueError):
    """An option has a value that cannot work, such as a rank above a side of the matrix."""


class MemoryLimitError(RecscaleError, ValueError):
    """A fit that would take more memory than it may; says what would fit."""


class UnknownNameError(RecscaleError, LookupError):
    """A name (of an executor, solver, metric or format) that nothing registered."""


class UnknownIdError(RecscaleError, LookupError):
    """A user or item id that the model has never seen."""


class ModelFormatError(RecscaleError):
    """A folder that is not a model, or is truncated, altered, or of a newer format."""


class StoreError(RecscaleError):
    """A folder that is not a matrix store, or is cut short, altered, of a newer format, or in use by another writer."""


class CheckpointError(RecscaleError):
    """A checkpoint that is not whole, of a newer format, or of another fit."""


class OutputError(RecscaleError):
    """An output path that exists already or cannot be written."""


class PluginError(RecscaleError):
    """A plugin that cannot be used: it does not import, or offers a taken name or another contract."""


class ExecutorUnavailable(RecscaleError):
    """An executor that cannot be opened here: not installed, no Java, nobody answers at the address."""


class PackageMissing(RecscaleError, ImportError):
    """Something optional needs a package that is not installed, or too old."""


class BlockFailed(RecscaleError):
    """A task raised an error on one block.

    Attributes
    ----------
    index : int
        Number of the block.
    remote_traceback : str
        The traceback on the worker, as text.
    """

    def __init__(self, message: str, *, index: int = -1, remote_traceback: str = "") -> None:
        super().__init__(message)
        self.index = index
        self.remote_traceback = remote_traceback


class TaskNotPortable(RecscaleError):
    """A task or a block that cannot be sent to another process."""


class WorkerLost(RecscaleError):
    """Workers died more often than the run may be retried."""


class IncompleteRun(RecscaleError):
    """An executor answered for too few blocks, for one twice, or for one that was not asked."""


class NotConvergedWarning(UserWarning):
    """A solver stopped at its limit of passes before the tolerance was reached."""


class VersionsDifferWarning(UserWarning):
    """Workers have other versions of what computes, so that results may differ in their last bits."""


class UnknownIdWarning(UserWarning):
    """Ids that the model has never seen were skipped, as asked for, or are most of a test set; says how many."""


class DoubtfulDataWarning(UserWarning):
    """What may be a mistake: appended interactions that are all known or all strange, values that are all 0, and errors
    (rmse, mae) of scores that are no values.
    """


class SeenTestWarning(UserWarning):
    """Held-out pairs that the model was fitted to, which it never recommends; says how many."""


def error_text(error: BaseException) -> str:
    """Return the type and the message of an error, also of one that fails when it is asked for its message."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
