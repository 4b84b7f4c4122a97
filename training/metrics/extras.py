"""Finds the packages of the extra `eval`, late, and says in one sentence when one is missing."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from training.errors import EvaluationError


def require(module: str) -> ModuleType:
    """Imports a module of the extra. Raises EvaluationError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module) from error


def package_folder(package: str) -> Path:
    """Where a package lies, without importing it. Raises EvaluationError if nowhere."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise _missing(package)
    return Path(spec.origin).parent


def missing(*modules: str) -> str | None:
    """A sentence that names the first of them that is not installed; None if all are."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            return str(_missing(module))
    return None


def _missing(module: str) -> EvaluationError:
    return EvaluationError(
        f"Measuring pictures needs {module}, which is not installed: install the extra with "
        "pip install -e '.[eval]'."
    )
