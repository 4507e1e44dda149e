"""Defaults of options from outside the command line: ``DISTLASSO_...`` variables, and over these a TOML file.

An option of every command that has it: ``DISTLASSO_TOL=1e-8``, or ``tol = 1e-8`` at the top of the file; of one command:
``DISTLASSO_FIT_TOL``, or the same line under ``[fit]``. What is given on the command line counts more than both. The file is
``--config FILE``, or what ``DISTLASSO_CONFIG`` names, or ``distlasso.toml`` where the command runs. Read next: ``app.py``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distlasso.errors import InputError

FILE = "distlasso.toml"


def defaults(command: Any, config: str | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """Defaults of the options of all commands, as click wants them: a dictionary a command, nested.

    Raises
    ------
    InputError
        If the file cannot be read, or has a line for an option that no command has.
    """
    known = _options(command)
    found = _from_variables(known, environment)
    named = config or environment.get("DISTLASSO_CONFIG")
    file = Path(named or FILE)
    if named is not None or file.is_file():
        _merge(found, _from_table(known, _read(file), str(file)))
    return found


def _options(command: Any) -> dict[str, Any]:
    """Names of options, ``{command: {option as users spell it: parameter}}``, nested where commands have commands."""
    known: dict[str, Any] = {}
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            known[name] = _options(one)
        else:
            known[name] = {_spelled(param): param.name for param in one.params if param.param_type_name == "option"}
    return known


def _spelled(param: Any) -> str:
    return str(max(param.opts, key=len)).lstrip("-").replace("-", "_")


def _from_variables(known: Mapping[str, Any], environment: Mapping[str, str], prefix: str = "DISTLASSO_") -> dict[str, Any]:
    """What the variables say; one that names the command counts more."""
    found: dict[str, Any] = {}
    for name, options in known.items():
        own = f"{prefix}{name.replace('-', '_').upper()}_"
        if _is_group(options):
            found[name] = _from_variables(options, environment, own)
            continue
        values = {parameter: environment.get(own + option.upper(), environment.get("DISTLASSO_" + option.upper()))
                  for option, parameter in options.items()}  # fmt: skip
        found[name] = {parameter: value for parameter, value in values.items() if value is not None}
    return found


def _from_table(known: Mapping[str, Any], table: Mapping[str, Any], file: str) -> dict[str, Any]:
    """What the file says; lines at its top hold for every command that has the option."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        name, option = key.replace("_", "-"), key.replace("-", "_")
        if isinstance(value, dict) and name in known:
            if _is_group(known[name]):
                _merge(found, {name: _from_table(known[name], value, f"{file}, [{key}]")})
                continue
            own = {line.replace("-", "_"): content for line, content in value.items()}
            for line in own:
                if line not in known[name]:
                    raise InputError(f"{file}: `distlasso {name}` has no option {line!r}: see `distlasso {name} --help`")
            _merge(found, {name: {known[name][line]: content for line, content in own.items()}})
            continue
        holders = {command: {options[option]: value} for command, options in known.items() if option in options}
        if not holders or isinstance(value, dict):
            raise InputError(f"{file}: no command and no option is called {key!r}: see `distlasso --help`")
        for command, line in holders.items():
            _merge(found, {command: {**line, **found.get(command, {})}})
    return found


def _is_group(options: Mapping[str, Any]) -> bool:
    return any(isinstance(value, dict) for value in options.values())


def _merge(into: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Put nested values over others."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read settings from {file}: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file} is not TOML: {error}") from error
