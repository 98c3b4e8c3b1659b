"""Cairn and its peers behind one interface, each used as its documents say, on the processor alone and without a process group."""
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import memory
import torch
from states import State

Loaded = Mapping[str, Any]  # arrays by name


class Saver:
    """Saves a state again and again, and loads it. What a peer does not do by itself - to sync what it wrote - the bench does, and counts."""

    name = ""  # in tables
    syncs = False  # by itself, all of it
    is_async = False
    loads = True  # else another contender reads the same files alike

    def open(self, state: State, folder: Path) -> None:
        """Once in a process, before training."""
        self.state, self.folder = state, folder

    def path(self, step: int) -> Path:
        """Of the file or folder of a step."""
        return self.folder / f"{step}"

    def save(self, step: int) -> None:
        """As the training loop calls it."""
        raise NotImplementedError

    def wait_until_safe(self) -> None:
        """Until the state may be changed."""

    def wait(self) -> None:
        """Until all is written."""

    def load(self, step: int) -> Loaded:
        """In new memory, or mapped."""
        raise NotImplementedError

    def fill(self, step: int) -> None:
        """The tensors of the state, in place."""
        _copy(self.load(step), self.state.flat())

    def close(self) -> None:
        """At the end."""


def _copy(loaded: Loaded, flat: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in flat.items():
        tensor.copy_(torch.as_tensor(loaded[name]))


def _flat(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{part}.{name}": value for part, tensors in tree.items() for name, value in tensors.items()}


# ------------------------------------------------------------------------------------------------------------------- Cairn


class Cairn(Saver):
    """CheckpointManager with what it does by default."""

    name, syncs, is_async, mode = "Cairn", True, True, "eager"

    def open(self, state: State, folder: Path) -> None:
        import cairn

        super().open(state, folder)
        self.manager = cairn.CheckpointManager(folder / "run", {"model": state.module, "optimizer": state.optimizer}, mode=self.mode)
        self.manager.restore()
        memory.settle()  # training begins: memory for saves is touched meanwhile

    def path(self, step: int) -> Path:
        return self.folder / "run" / f"checkpoint-{step}"

    def save(self, step: int) -> None:
        self.manager.save(step, force=True)

    def wait_until_safe(self) -> None:
        self.manager.fence()

    def wait(self) -> None:
        self.manager.wait_until_finished()

    def is_done(self) -> bool:
        """Whether the save is durable."""
        return bool(self.manager.poll().phase not in ("staging", "writing", "committing"))

    def load(self, step: int) -> Loaded:
        """Every byte is checked."""
        import cairn

        return _tensors_in(cairn.load(self.path(step)))

    def map(self, step: int) -> Loaded:
        """Nothing is read yet."""
        import cairn

        checkpoint = cairn.Checkpoint(self.path(step))
        return {
            f"{item}.{name}": array.torch()
            for item in checkpoint
            if checkpoint[item].has_tensors
            for name, array in checkpoint[item].items()
            if isinstance(array, cairn.Array)
        }

    def fill(self, step: int) -> None:
        """Every byte is checked."""
        self.manager.restore(step=step)

    def close(self) -> None:
        self.manager.close()


class CairnLazy(Cairn):
    """Late is what optimizers change; the first two saves of a process are eager."""

    name, mode, loads = "Cairn, lazy", "lazy", False


def _tensors_in(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, torch.Tensor):
        return {prefix: tree}
    found: dict[str, Any] = {}
    for name, part in tree.items() if isinstance(tree, Mapping) else ():
        found |= _tensors_in(part, f"{prefix}.{name}" if prefix else str(name))
    return found


# ------------------------------------------------------------------------------------------------------------ one file each


class TorchSave(Saver):
    """A zip of pickles."""

    name = "torch.save"

    def save(self, step: int) -> None:
        torch.save(self.state.tree(), self.path(step))

    def load(self, step: int) -> Loaded:
        return _flat(torch.load(self.path(step)))

    def map(self, step: int) -> Loaded:
        """As mmap=True does."""
        return _flat(torch.load(self.path(step), mmap=True))

    def fill(self, step: int) -> None:
        _copy(self.map(step), self.state.flat())


class Safetensors(Saver):
    """save_file and load_file."""

    name = "safetensors"

    def save(self, step: int) -> None:
        from safetensors.torch import save_file

        save_file(self.state.flat(), self.path(step))

    def load(self, step: int) -> Loaded:
        from safetensors.torch import load_file

        return load_file(self.path(step))

    map = load  # it maps the file


class Savez(Saver):
    """numpy's zip of arrays, not compressed."""

    name = "numpy.savez"

    def path(self, step: int) -> Path:
        return self.folder / f"{step}.npz"

    def save(self, step: int) -> None:
        import numpy

        numpy.savez(self.path(step), **{name: tensor.numpy() for name, tensor in self.state.flat().items()})

    def load(self, step: int) -> Loaded:
        import numpy

        with numpy.load(self.path(step)) as file:
            return {name: file[name] for name in file.files}


# --------------------------------------------------------------------------------------------- torch.distributed.checkpoint


class Dcp(Saver):
    """dcp.save, which syncs its files, but not their folder."""

    name = "DCP save"

    def save(self, step: int) -> None:
        from torch.distributed import checkpoint as dcp

        writer = dcp.FileSystemWriter(self.path(step), thread_count=2)
        dcp.save(self.state.tree(), storage_writer=writer, no_dist=True)

    def load(self, step: int) -> Loaded:
        from torch.distributed import checkpoint as dcp

        tree = {part: {name: torch.empty_like(tensor) for name, tensor in tensors.items()} for part, tensors in self.state.tree().items()}
        dcp.load(tree, checkpoint_id=self.path(step), no_dist=True)
        return _flat(tree)

    def fill(self, step: int) -> None:
        from torch.distributed import checkpoint as dcp

        dcp.load(self.state.tree(), checkpoint_id=self.path(step), no_dist=True)


class DcpAsync(Dcp):
    """dcp.async_save as it is by default: each save makes new memory."""

    name, is_async, loads = "DCP async", True, False
    stager: Any = None
    options: dict[str, Any] = {}

    def save(self, step: int) -> None:
        from torch.distributed import checkpoint as dcp

        writer = dcp.FileSystemWriter(self.path(step), thread_count=2)
        given = {"storage_writer": writer, "async_stager": self.stager} | self.options
        self.answer = dcp.async_save(self.state.tree(), no_dist=True, **{key: value for key, value in given.items() if value is not None})

    def wait(self) -> None:
        self.answer.result()

    def close(self) -> None:
        if self.stager is not None:
            self.stager.close()


class DcpCached(DcpAsync):
    """With a stager that keeps its memory."""

    name = "DCP async, cached stager"
    stages_behind = False
    shares = False

    def open(self, state: State, folder: Path) -> None:
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

        super().open(state, folder)
        self.stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=False, use_shared_memory=self.shares, use_async_staging=self.stages_behind, use_non_blocking_copy=False
            )
        )


class DcpBehind(DcpCached):
    """That stages on a thread: who changes the state before staging is complete stores what it is then."""

    name, stages_behind = "DCP async, staging behind", True
    answer: Any = None

    def wait_until_safe(self) -> None:
        if self.answer is not None:
            self.answer.staging_completion.result()

    def wait(self) -> None:
        self.answer.upload_completion.result()


class DcpProcess(DcpCached):
    """That writes in a process of its own."""

    name, shares = "DCP async, process", True

    def open(self, state: State, folder: Path) -> None:
        from torch import distributed
        from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

        super().open(state, folder)
        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
        self.options = {"async_checkpointer_type": AsyncCheckpointerType.PROCESS}


# ------------------------------------------------------------------------------------------------------------------ others


class TorchCheckpointing(Saver):
    """Stages on a thread, writes in a process of its own. Its default, O_DIRECT, fails on file systems that want aligned memory."""

    name, is_async = "torch_checkpointing", True

    def open(self, state: State, folder: Path) -> None:
        from torch_checkpointing import CheckpointManager
        from torch_checkpointing.storage.filesystem import LocalFileSystemStorageConfig

        super().open(state, folder)
        config = CheckpointManager.Config.with_async_save()
        config.storage_config = LocalFileSystemStorageConfig(use_direct_io=False)
        self.manager = CheckpointManager(config)

    def save(self, step: int) -> None:
        self.answer = self.manager.save(os.fspath(self.path(step)), self.state.tree())

    def wait_until_safe(self) -> None:
        with self.manager.lock():
            pass

    def wait(self) -> None:
        self.answer.result()

    def load(self, step: int) -> Loaded:
        return _flat(self.manager.load(os.fspath(self.path(step)), into=dict.fromkeys(self.state.tree())))

    def fill(self, step: int) -> None:
        self.manager.load(os.fspath(self.path(step)), into=self.state.tree())

    def close(self) -> None:
        self.manager.close()


class Orbax(Saver):
    """AsyncCheckpointer, of numpy arrays over torch's memory."""

    name, is_async = "Orbax", True

    def open(self, state: State, folder: Path) -> None:
        import orbax.checkpoint as orbax

        super().open(state, folder.absolute())
        self.checkpointer = orbax.AsyncCheckpointer(orbax.StandardCheckpointHandler())

    def _arrays(self) -> Any:
        return {part: {name: tensor.numpy() for name, tensor in tensors.items()} for part, tensors in self.state.tree().items()}

    def save(self, step: int) -> None:
        import orbax.checkpoint as orbax

        self.checkpointer.save(self.path(step), args=orbax.args.StandardSave(self._arrays()))

    def wait(self) -> None:
        self.checkpointer.wait_until_finished()

    def load(self, step: int) -> Loaded:
        return _flat(self.checkpointer.restore(self.path(step)))

    def close(self) -> None:
        self.checkpointer.close()


ALL: dict[str, Callable[[], Saver]] = {
    "cairn": Cairn,
    "cairn-lazy": CairnLazy,
    "torch": TorchSave,
    "safetensors": Safetensors,
    "savez": Savez,
    "dcp": Dcp,
    "dcp-async": DcpAsync,
    "dcp-cached": DcpCached,
    "dcp-behind": DcpBehind,
    "dcp-process": DcpProcess,
    "tc": TorchCheckpointing,
    "orbax": Orbax,
}
