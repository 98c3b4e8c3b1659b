"""Python's search for garbage, put off."""

from __future__ import annotations

import gc


class Kept:
    """Ten thousand tensors make objects enough to have Python look for garbage again and again, in all that a training run holds. None of them is any."""

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()
