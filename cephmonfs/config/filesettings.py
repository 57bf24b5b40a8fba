"""What the files need to know of a MountConfig."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from cephmonfs.config.monaddr import MsMode
from cephmonfs.config.options import DEFAULTS
from cephmonfs.files.settings import FsSettings
from cephmonfs.model.usertext import shown

if TYPE_CHECKING:
    from cephmonfs.config.mountconfig import MountConfig

_KERNEL_MOUNT_TIMEOUT_S: Final = 60.0
_OPTIONS: Final = tuple(item.name for item in fields(FsSettings) if item.name in DEFAULTS)


def fs_settings(config: MountConfig) -> FsSettings:
    """Return what the file system needs to know."""
    options: dict[str, Any] = {name: getattr(config, name) for name in _OPTIONS}
    return FsSettings(**options, config_lines=tuple(config.lines().splitlines()), client_options=client_options(config))


def client_options(config: MountConfig) -> str:
    """Return the options as the kernel client's debugfs shows them: in its order, without its defaults and the key."""
    parts = [f"name={shown(config.entity.id)}"]
    if config.key is not None:
        parts.append("secret=<hidden>")
    if config.ms_mode != MsMode.LEGACY:
        parts.append(f"ms_mode={config.ms_mode}")
    if config.fsid:
        parts.append(f"fsid={config.fsid}")
    parts.append("abort_on_full")  # every CephFS mount of the kernel has it
    if config.mount_timeout != _KERNEL_MOUNT_TIMEOUT_S:
        parts.append(f"mount_timeout={config.mount_timeout:.0f}")
    return ",".join(parts)


def default_settings(**changes: Any) -> FsSettings:
    """Return the defaults of the options with some changed."""
    return FsSettings(**{name: DEFAULTS[name] for name in _OPTIONS} | changes)
