"""Optional dependencies: packages that only an extra of ttplan installs."""

from __future__ import annotations

from importlib import import_module


def require_extra(package: str, extra: str, purpose: str) -> None:
    """Raise ImportError that names the extra to install if a package is missing."""
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # the package is there, and something that it needs is not
            raise
        raise ImportError(
            f"{purpose} needs {package}; install it with: pip install 'ttplan[{extra}]'"
        ) from None
