"""The checkpoint library, as its C header has it.

Every call that can block gives the GIL up. What the library fails with is raised as a `cairn._errors.Error`, by its code; a wrong type is a TypeError, a
number out of range an OverflowError. Paths are str or os.PathLike; `name` and `store` are as in the program: RUN@STEP, RUN@latest, RUN@best, RUN@TAG or a
path, with the runs looked for in the folder `store` (None: the current one). What is an enum in C is its name in lower case here.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Literal, NamedTuple, TypeAlias, final

_Path: TypeAlias = str | PathLike[str]
_IoMode: TypeAlias = Literal["auto", "direct", "buffered"]
_Outcome: TypeAlias = Literal["restored", "missing", "unexpected", "converted", "new", "skipped"]
_Row: TypeAlias = tuple[str, str, str, Sequence[int], int, object, int, Sequence[int] | None, int, Gate | Device | None]

TRAINABLE: int
"""NaN or Inf in it makes a checkpoint unhealthy; missing at a restore is an error."""
FROZEN: int
"""Does not change: its file is shared between checkpoints, from 1 MiB on."""
OPTIMIZER: int
"""Judged and required like TRAINABLE."""
VOLATILE: int
"""Changes outside of the optimizer's step: always staged before a save returns."""
FRESH: int
"""Holds nothing yet: a restore may put bytes there before they are checked."""
DEFERRED: int
"""Its bytes are under way. What is bound with a gate is."""

def version() -> str:
    """The library's version, "0.1.0"."""

def dtype_bits(name: str) -> int:
    """Bits of one element of a dtype of safetensors ("BF16"). UsageError: no such dtype."""

def variables(names: tuple[str, ...]) -> dict[str, str]:
    """Those of the process's environment that are set."""

# ------------------------------------------------------------------------------------------------------------- values

class Tagged(NamedTuple):
    """A plain value with the name of a type, which is stored and given back beside it and never interpreted."""

    type: str
    value: object

class TensorRef(NamedTuple):
    """Stands in a tree that was read where a tensor of that name lies. It cannot be stored."""

    name: str

def same_objects(objects: list[object], others: list[object]) -> bool:
    """Whether each is the one that stands in its place in the other list."""

def tensor_memory(tensors: list[object]) -> bytes:
    """Addresses, dtypes, shapes and strides of torch's tensors: the same bytes as at another time if none has moved or become another view."""

# -------------------------------------------------------------------------------------------------------------- state

@final
class Gate:
    """What tensors stand behind whose bytes are under way: a lazy save returns before them, and the library's threads wait until it is open. It is at first."""

    def __new__(cls) -> Gate: ...
    def shut(self) -> None:
        """From now on they wait."""

    def open(self) -> None:
        """The bytes are there."""

    def fail(self) -> None:
        """They will never be: the save that waits for them fails with an IOError of the fetch callback."""

@final
class Device:
    """A device whose memory tensors lie in. `set`, `copy`: addresses of cudaSetDevice and cudaMemcpy, or of what is called as they are. A thread that saves or
    restores such tensors may work with that device afterwards."""

    def __new__(cls, ordinal: int, set: int, copy: int) -> Device: ...

@final
class State:
    """What is saved and restored: tensors and plain values under items.

    It keeps the owners of its tensors alive. While a call saves, restores or reserves with it, every other call on it raises UsageError; a save that goes
    on behind has what it took, and the state may be changed.
    """

    def __new__(cls) -> State: ...
    def bind(
        self,
        item: str,
        name: str,
        dtype: str,
        shape: Sequence[int],
        address: int,
        owner: object,
        *,
        flags: int = 0,
        strides: Sequence[int] | None = None,
        generation: int = 0,
        via: Gate | Device | None = None,
    ) -> None:
        """Bind a tensor that lies at `address`, in memory that `owner` keeps.

        `dtype` is called as in safetensors, `shape` counts elements, `strides` are in bytes (None: row-major) and may be negative or 0. `generation` is the
        address of a uint64 that counts changes, 0: none. `via`: a gate that the bytes stand behind, for a save, in memory that nobody else changes; or the
        device that `address` is of. A scalar has the shape (). UsageError: a name that is taken or no path, no such dtype, strides of elements that fill no
        bytes. LimitError: too many dimensions, too long a name.
        """

    def bind_many(self, rows: Iterable[_Row]) -> None:
        """Bind a tensor for each (item, name, dtype, shape, address, owner, flags, strides, generation, via), in this order and all given, as `bind` does.

        The rows must be tuples. Where one is refused those before it stay bound.
        """

    def alias(self, item: str, name: str, target: str) -> None:
        """Make `name` a second name of tensor `target` of the same item, bound before; the bytes are stored once."""

    def set_value(self, item: str, name: str, value: object) -> None:
        """Set or replace a tree of plain values.

        It may hold None, bool, int of any size, float, str, bytes, list, tuple, dict with any of these as keys, and Tagged. Anything else, also a subclass
        of these, is a TypeError that names the place: "optimizer/param_groups/0/lr: a value of type Decimal cannot be stored". UsageError, a ValueError:
        text with a lone surrogate. LimitError: more than 62 levels.
        """

    def value(self, item: str, name: str) -> object:
        """The tree that is held now, after a restore the one that was restored. KeyError: there is none."""

    def set_file_stem(self, item: str, stem: str) -> None:
        """Call the files of an item by `stem` instead of its name ("adapter_model")."""

# ------------------------------------------------------------------------------------------------------------ reports
# Struct sequences: tuples with named fields, without the methods of a NamedTuple, and made by the library alone.

@final
class Status(NamedTuple):
    """Figures of the save or restore that runs, or of the last one. Times in nanoseconds."""

    phase: Literal["idle", "staging", "writing", "committing", "durable", "failed", "abandoned", "restoring"]
    step: int
    total_bytes: int
    staged_bytes: int
    """Copied into the arena; while restoring: read."""
    written_bytes: int
    """Handed to the disk; while restoring: stored in the bound memory."""
    linked_bytes: int
    stall_ns: int
    """How long the save held its caller, waits and fences counted in."""
    elapsed_ns: int
    saves_done: int
    saves_failed: int
    term: int
    arena_bytes: int
    warnings: int

@final
class SaveReport(NamedTuple):
    """What a save did. From an eager or lazy save only step, term, total_bytes and skipped are known yet."""

    step: int
    term: int
    total_bytes: int
    written_bytes: int
    linked_bytes: int
    elapsed_ns: int
    skipped: bool
    healthy: bool
    name: str | None
    """Of the folder: "checkpoint-1200"."""
    id: str | None

@final
class RestoreReport(NamedTuple):
    """What a restore did."""

    fresh: bool
    """The run holds no checkpoint; nothing was touched, and step is 0."""
    step: int
    term: int
    epoch: float
    name: str | None
    id: str | None
    counts: dict[_Outcome, int]
    bytes: int
    elapsed_ns: int
    skipped_damaged: int
    """Newer checkpoints that were passed over because they are damaged."""
    leaves: list[tuple[str, str, _Outcome]]
    """(item, name, outcome) of every tensor and value."""

@final
class Entry(NamedTuple):
    """A row of a listing."""

    name: str
    standing: Literal["current", "superseded", "damaged", "foreign"]
    problem: str | None
    id: str
    step: int
    term: int
    time_ns: int
    """Since 1970, UTC."""
    epoch: float
    healthy: bool
    exact: bool
    is_latest: bool
    is_head: bool
    is_best: bool
    bytes: int
    tensors: int
    metrics: dict[str, float]
    tags: tuple[str, ...]
    pinned: bool
    dropped: tuple[str, ...]
    """Items whose tensors were removed."""

@final
class CheckpointInfo(NamedTuple):
    """What is known of an open checkpoint."""

    source: Literal["checkpoint", "file", "sharded"]
    path: str
    entry: Entry | None
    """None for what Cairn did not write. standing and is_... are a listing's, and say nothing here."""
    run_id: str | None
    parent_id: str | None
    generation: int
    tensors_count: int
    files_count: int
    items_count: int
    tensor_bytes: int

@final
class Statistics(NamedTuple):
    """Figures over a tensor's finite elements, and how many are not finite."""

    max_abs: float
    norm: float
    nan_count: int
    inf_count: int

@final
class TensorInfo(NamedTuple):
    """One tensor of a checkpoint."""

    item: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    flags: int
    size_bytes: int
    file: str
    """Within the folder."""
    file_offset: int
    digest: str | None
    statistics: Statistics | None

@final
class FileInfo(NamedTuple):
    """One file of a checkpoint, relative to its folder."""

    name: str
    size_bytes: int
    digest: str | None

@final
class Damage(NamedTuple):
    """One finding of a verify."""

    file: str | None
    tensor: str | None
    """ "item:name"."""
    block: int | None
    """The 4 MiB block within the tensor; None: it is not about one."""
    offset: int
    size_bytes: int
    code: str
    """ "CORRUPT"."""
    message: str | None
    shared_with: str | None
    """The checkpoints beside it that share this file, and the damage: "checkpoint-10, checkpoint-20"."""

@final
class VerifyReport(NamedTuple):
    """What a verify found. All is well where `damages` is empty."""

    checked_bytes: int
    damaged_blocks: int
    findings: int
    warnings: list[str]
    """Allowed, but other tools may stumble over it."""
    digests_known: bool
    damages: list[Damage]

@final
class ProbeReport(NamedTuple):
    """What a folder's file system can do. The first seven are 0, or the errno that it answered with."""

    hard_links: int
    symlinks: int
    rename_new: int
    exchange: int
    writer_lock: int
    reader_lock: int
    direct_io: int
    is_volatile: bool
    folds_case: bool
    free_bytes: int
    file_sync_ns: int
    folder_sync_ns: int

# ---------------------------------------------------------------------------------------------------------------- run

@final
class Run:
    """A run that is open for writing; the last part of `path` is its name. The folders are made where they are missing.

    `written()` is asked on a thread of the library when a lazy save is staged: None, or the name of what was written to since the save, which then fails
    with EarlyWriteError; so it does if `written` raises.

    One call at a time works on it; other threads wait, but `status` and `cancel` may be called at any time. `message(text)`, `progress(Status)` and
    `committed(SaveReport)` run on threads of the library, one at a time; what they raise goes to sys.unraisablehook, and calls on the run from them, or from a
    signal's handler while the run waits, raise UsageError. A run that is collected, or left open at the end of the program, is closed with a
    ResourceWarning. In a forked child every call raises ForkedError.

    LockedError: another process writes it. VersionError: of a newer format. ForeignError: another tool's checkpoints are there. UsageError: not a name for a run.
    """

    def __new__(
        cls,
        path: _Path,
        *,
        take_over: bool = False,
        keep_last: int = 0,
        best_metric: str | None = None,
        best_is_max: bool = False,
        io_mode: _IoMode = "auto",
        io_threads: int = 0,
        arena_bytes: int = 0,
        piece_bytes: int = 0,
        shard_bytes: int = 0,
        check_early_writes: bool = False,
        message: Callable[[str], object] | None = None,
        progress: Callable[[Status], object] | None = None,
        committed: Callable[[SaveReport], object] | None = None,
        keep_best: int = 0,
        save_every_steps: int = 0,
        save_every_ms: int = 0,
        written: Callable[[], str | None] | None = None,
    ) -> Run: ...
    def is_due(self, step: int, /) -> bool:
        """Whether a save of this step is due: by steps where a multiple of save_every_steps was crossed since the step that was asked about before, by time, or
        because a save or a stop was requested. Asking twice about one step gives the same answer."""

    def request_save(self) -> None:
        """The next step is due. Any thread, or a signal's handler."""

    def request_stop(self) -> None:
        """The next step is due, and should_stop says yes once that save has begun. Any thread, or a signal's handler."""

    def should_stop(self) -> bool:
        """A stop was requested, and the state was saved since."""

    def reserve(self, state: State) -> None:
        """Make the arena for saves of this state behind the caller's back, so that the first save does not have to."""

    def save(
        self,
        state: State,
        step: int,
        *,
        mode: Literal["eager", "sync", "lazy"] = "eager",
        if_running: Literal["wait", "skip", "replace", "error"] = "wait",
        epoch: float = 0.0,
        inexact: bool = False,
        metrics: Mapping[str, float] | None = None,
        attachments: Mapping[str, _Path | bytes] | None = None,
        tags: Sequence[str] = (),
        config: str | None = None,
    ) -> SaveReport:
        """Save the state as the checkpoint of `step`: optimizer steps completed.

        Returns when the bytes are staged ("eager"), when the checkpoint is durable ("sync"), or at once ("lazy": call `fence` before the first change; the
        run holds the state until then). Attachments are files beside the weights: a path is read, bytes are the content. What an earlier save failed with
        behind is raised by the next call, which then does nothing else.

        ExistsError: the step is there. UsageError: it is not beyond the last, or the run holds checkpoints and was not restored from. FencedError.
        NoSpaceError: nothing is lost. EarlyWriteError: of a lazy save. LockedError: one still runs, and if_running is "error".
        """

    def restore(
        self,
        state: State | None,
        *,
        step: int | None = None,
        allow_missing: bool = False,
        items: Sequence[str] | None = None,
        choose: Callable[[Checkpoint], State] | None = None,
    ) -> RestoreReport:
        """Bring a checkpoint back into the bound memory, every byte checked: that of `step`, else the newest healthy and exact one that is whole.

        `choose` is called with each checkpoint that is tried and returns the state to fill; `state` may be None then. It may look at the checkpoint until it
        returns, but not map it. What it raises ends the restore and is raised.

        MismatchError: dtypes, shapes or a missing leaf; nothing was touched. NotFoundError: no such step. CorruptError: only damaged ones are there.
        TornStateError: the bound memory is a mixture now.
        """

    def fence(self) -> None:
        """Return when the bytes of the save that runs are staged: the state may be changed again."""

    def wait(self) -> None:
        """Return when the save that runs is durable. Signals are handled meanwhile; what a handler raises ends the wait, not the save."""

    def close(self) -> None:
        """Wait for the save that runs and close. What failed behind is raised; the run is closed all the same, unless a signal's handler raised."""

    def cancel(self) -> None:
        """End the save or restore that runs with CancelledError; nothing is lost."""

    def log(self, step: int, metrics: Mapping[str, float], /) -> None:
        """Append a row to the run's metrics.jsonl. The metrics of every save are added by themselves."""

    def status(self) -> Status:
        """Figures of the save or restore that runs, or of the last one."""

# --------------------------------------------------------------------------------------------------------- checkpoint

@final
class View:
    """The bytes of a tensor as they lie in its file, read only: a buffer of unsigned bytes in one dimension. Not checked against the digest."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Checkpoint:
    """An open checkpoint, .safetensors file or sharded folder. It is not removed while it is open. Any thread may use it.

    NotFoundError: nothing of that name. UsageError: the name of a run. CorruptError, LimitError, UnsupportedError, PathError: it is damaged, or was never one.
    VersionError: of a newer format. GoneError: it is being removed. Once it is closed everything but `close` raises UsageError.
    """

    def __new__(cls, name: _Path, store: _Path | None = None) -> Checkpoint: ...
    @property
    def info(self) -> CheckpointInfo: ...
    @property
    def tensors(self) -> Sequence[TensorInfo]:
        """All tensors; made when first asked for."""

    @property
    def files(self) -> Sequence[FileInfo]: ...
    def find(self, item: str, name: str, /) -> TensorInfo | None:
        """The tensor of that name, an alias's too; None: no such."""

    def values(self) -> dict[str, object]:
        """The plain values: a tree for each item, with TensorRef where tensors lie. Empty where the source has none.

        UnsupportedError: a map with keys that no dict can hold.
        """

    def provenance(self) -> str | None:
        """provenance.json as text."""

    def read(self, tensor: TensorInfo | tuple[str, str], out: object, offset: int = 0) -> None:
        """Read as many bytes of a tensor as `out`, a writable buffer in one piece, holds: from byte `offset` on, each block checked.

        CorruptError: a block differs from its digest. UsageError: beyond the end.
        """

    def read_slice(self, tensor: TensorInfo | tuple[str, str], start: Sequence[int], extent: Sequence[int], out: object) -> None:
        """Read the box start[i] .. start[i] + extent[i] - 1 (elements), packed row-major, into `out`, a buffer of its size; checked."""

    def map(self, tensor: TensorInfo | tuple[str, str], /) -> View:
        """A view of a tensor without a copy, not checked. The files stay open while it lives, also after `close`.

        UnsupportedError: of a file that Cairn did not write.
        """

    def close(self) -> None: ...
    def __enter__(self) -> Checkpoint: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /) -> None: ...

# -------------------------------------------------------------------------------------------------------------- store

def listing(run_path: _Path, /) -> list[Entry]:
    """The checkpoints of a run by (term, step), foreign and damaged ones last. NotFoundError: no folder, or not a run."""

def runs(store_path: _Path, /) -> list[str]:
    """The names of the runs in a store, and of the folders that cannot be looked into."""

def metrics(run_path: _Path, /) -> list[tuple[int, int, dict[str, float]]]:
    """(step, term, metrics) of every row that counts, in the order they were reported. A RuntimeWarning tells of lines that are torn."""

def wait_for_new(run_path: _Path, position: tuple[int, int], timeout_s: float) -> tuple[Checkpoint | None, tuple[int, int]]:
    """Wait for a checkpoint beyond `position`, (term, step) - (0, 0): any -, and open the oldest such one; with it comes the position to go on from.

    The checkpoint is None when `timeout_s` (math.inf: for ever) is over first. Signals are handled meanwhile. The run need not be there yet. One that is
    damaged is raised once; the error's `position` is where to go on.
    """

def mark(
    name: _Path,
    store: _Path | None = None,
    *,
    add_tags: Sequence[str] = (),
    remove_tags: Sequence[str] = (),
    metrics: Mapping[str, float] | None = None,
    pin: bool | None = None,
    must_match: bool = False,
) -> None:
    """Put tags, late metrics or a pin on a checkpoint, durably. `must_match`: where one of remove_tags is not there, nothing is done: MismatchError."""

def remove(name: _Path, store: _Path | None = None) -> None:
    """Remove a checkpoint. UsageError: what a run resumes from, the best, a pinned or tagged one. LockedError: somebody reads it."""

def drop_item(name: _Path, item: str, store: _Path | None = None) -> None:
    """Remove the tensors of one item from a checkpoint. UsageError: what a run resumes from, item "model". LockedError: somebody reads it."""

def keep(
    run_path: _Path,
    last: int,
    dry_run: bool = False,
    *,
    best: int = 0,
    metric: str | None = None,
    metric_is_max: bool = False,
    message: Callable[[str], object] | None = None,
) -> list[str]:
    """Remove what `keep_last` and `keep_best` of a run would; the names of those that went, or in a dry run would go. `message` is told of those that stay for a reader."""

def verify(
    name: _Path,
    store: _Path | None = None,
    *,
    quick: bool = False,
    io_threads: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> VerifyReport:
    """Check every byte against its digest (`quick`: headers, sizes and tables alone). Damage is reported, not raised.

    `progress(done_bytes, total_bytes)` runs on a thread of the library.
    """

def save_folder(
    path: _Path,
    state: State,
    *,
    replace: bool = False,
    io_mode: _IoMode = "auto",
    io_threads: int = 0,
    arena_bytes: int = 0,
    shard_bytes: int = 0,
    attachments: Mapping[str, _Path | bytes] | None = None,
    config: str | None = None,
) -> SaveReport:
    """Save the state as one folder outside of any run, durably. ExistsError: something stands there. ForeignError: what is to be replaced is no checkpoint."""

def load(
    name: _Path,
    state: State | None,
    *,
    store: _Path | None = None,
    allow_missing: bool = False,
    items: Sequence[str] | None = None,
    choose: Callable[[Checkpoint], State] | None = None,
    figures: array[int] | None = None,
) -> RestoreReport:
    """Fill the state, or the one that `choose` gives, from any checkpoint, .safetensors file or sharded folder. Errors as of Checkpoint and Run.restore.

    `figures`, an array("Q") of two, is given the bytes done and in all: when reading begins, about ten times a second, and when all is there.
    """

def probe(dir_path: _Path, /) -> ProbeReport:
    """Try out in a folder what saving there will need, in a folder of its own that is removed again. Takes some milliseconds."""
