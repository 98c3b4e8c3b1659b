"""The settings that a run records beside its state, and what a restore says where they differ: config, command line, versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from . import _environment
from ._errors import make
from ._filling import Filling
from ._report import Report

Differing = Literal["keep", "override", "error"]
WORDS = ("keep", "override", "error")


class Settings:
    """Of one manager. What `differing` says to override is written into the config that was given."""

    def __init__(self, directory: Path, config: dict[str, Any] | None, differing: Differing | Mapping[str, Differing]) -> None:
        self._directory, self._config, self._differing = directory, config, differing
        self._facts: dict[str, object] = {}
        self._config_of_facts: str | None = None
        _environment.warn_of_names({} if isinstance(differing, str) else differing, config or {})

    def config_text(self) -> str | None:
        """The config as JSON, as a save is given it; None: there is none."""
        try:
            return json.dumps(self._recorded(), default=repr) if self._config is not None else None
        except TypeError as error:  # a key
            raise TypeError(f"config: {error}") from None

    def facts(self, config: str | None) -> dict[str, object]:
        """What is recorded with every checkpoint: the same objects, not to be changed, as long as it is the same. config: what `config_text` gave."""
        environment = _environment.environment()
        if environment != self._facts.get("environment"):
            self._facts["environment"] = environment
        if "config" not in self._facts or config != self._config_of_facts:
            self._facts["config"], self._config_of_facts = json.loads(config or "{}"), config
        self._facts["arguments"] = _environment.arguments()
        return self._facts

    def refuse_differing(self, filling: Filling) -> None:
        """MismatchError, before anything is touched."""
        facts = {key: pair for key, pair in self._facts_that_differ(filling).items() if self._is_refused(key, pair)}
        settings = {key: pair for key, pair in self._differences(filling).items() if self._policy_for(key) == "error"}
        for what, wrong in (("the config", settings), ("the environment", facts)):
            if wrong:
                told = ", ".join(f"{key} was {old!r} and is {new!r} now" for key, (old, new) in wrong.items())
                raise make("MISMATCH", f"{self._directory}: {what} differs: {told}; `differing` says that this is an error")

    def compare(self, filling: Filling, report: Report) -> None:
        """Tells what differs from the process that saved, and overrides what is to be."""
        report.differences = self._facts_that_differ(filling)
        arguments = _environment.differences(filling.python.get("arguments", {}), _environment.arguments())
        report.differences |= {f"arguments.{key}": pair for key, pair in arguments.items()}
        report.differences |= {f"config.{key}": pair for key, pair in self._differences(filling).items()}
        if self._config is not None:
            _environment.override(self._config, filling.python.get("config", {}), lambda key: self._policy_for(key) == "override")

    def _recorded(self) -> Any:
        """The config as it is written down."""
        return _environment.redact(self._config or {})

    def _differences(self, filling: Filling) -> dict[str, tuple[object, object]]:
        """Of the config, by key: (saved, now)."""
        return _environment.differences(filling.python.get("config", {}), json.loads(self.config_text() or "{}"))

    def _facts_that_differ(self, filling: Filling) -> dict[str, tuple[object, object]]:
        """Of versions, switches and world size: (saved, now)."""
        return _environment.differences(filling.python.get("environment", {}), _environment.environment())

    def _is_refused(self, fact: str, pair: tuple[object, object]) -> bool:
        """Whether that is an error. What one side alone knows of is a package that was not imported yet, unless it is the program's environment."""
        is_of_config = not isinstance(self._differing, str) and fact.split(".")[0] in (self._config or {})
        return (None not in pair or fact in _environment.VARIABLES) and not is_of_config and self._policy_for(fact) == "error"

    def _policy_for(self, key: str) -> Differing:
        """By the longest name given that the key is, or lies below."""
        if isinstance(self._differing, str):
            return self._differing
        given = [name for name in self._differing if _environment.is_below(key, name)]
        return self._differing[max(given, key=len)] if given else "keep"
