"""`python -m cephmonfs.demo`: the embedded monitors alone, to try `ceph` and others on them.

Prints the monitors' addresses; with --dir it also writes ceph.conf and a keyring there.  Ends with ^C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import trio

from cephmonfs.demo.monitors import Demo, DemoSettings, run_monitors
from cephmonfs.host import files
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import EntityName
from cephmonfs.msgr.events import Mode


def _settings(argv: list[str]) -> tuple[DemoSettings, Path | None]:
    parser = argparse.ArgumentParser(prog="python -m cephmonfs.demo", description="embedded monitors on loopback")
    parser.add_argument("--mons", type=int, default=3, choices=range(1, 32), metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key-type", choices=["aes", "aes256k"], default="aes")
    parser.add_argument("--mode", choices=["secure", "crc", "any"], default="any")
    parser.add_argument("--rev", type=int, choices=[0, 1], default=1, help="messenger revision")
    parser.add_argument("--name", default="demo", help="the client's name, with or without client.")
    parser.add_argument("--dir", type=Path, help="write ceph.conf and keyring there")
    args = parser.parse_args(argv)
    modes = {"secure": (Mode.SECURE,), "crc": (Mode.CRC,), "any": (Mode.SECURE, Mode.CRC)}[args.mode]
    settings = DemoSettings(
        mons=args.mons,
        seed=args.seed,
        key_type=KeyType[args.key_type.upper()],
        entity=EntityName.parse(args.name),
        modes=modes,
        revision=args.rev,
    )
    return settings, args.dir


def write_files(demo: Demo, where: Path) -> tuple[Path, Path]:
    """Write ceph.conf and keyring, the keyring for its owner's eyes only."""
    where.mkdir(parents=True, exist_ok=True)
    conf, keyring = where / "ceph.conf", where / "keyring"
    with open(files.overwrite(str(conf)), "w") as file:
        file.write(demo.conf(str(keyring.absolute())))
    with open(files.overwrite(str(keyring), 0o600), "w") as file:
        file.write(demo.keyring())
    return conf, keyring


async def _main(settings: DemoSettings, where: Path | None) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with run_monitors(settings) as demo:
            print(f"fsid {demo.fsid}")
            for name, host, port in demo.addrs:
                print(f"mon.{name} v2:{host}:{port}")
            if where is not None:
                conf, _ = write_files(demo, where)
                print(f"try: ceph -c {conf} -n {demo.entity} status")
            else:
                print(demo.conf("KEYRING") + demo.keyring(), end="")
            sys.stdout.flush()
            async for _ in signals:
                break


if __name__ == "__main__":
    trio.run(_main, *_settings(sys.argv[1:]))
