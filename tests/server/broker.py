"""A real broker for the tests: mosquitto on a port of the loopback, stopped and started at will."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Broker:
    """`settings` are further lines of mosquitto's configuration."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.port = free_port()
        self._file = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            # What is queued for clients survives a restart.
            "persistence true",
            f"persistence_location {folder}/",
            # It would give up root's rights, and with them the folder of the test.
            "user root",
            *(settings or ["allow_anonymous true"]),
        ]
        self._file.write_text("\n".join(lines) + "\n")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = await asyncio.create_subprocess_exec(
            MOSQUITTO, "-c", str(self._file), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await asyncio.wait_for(self._until_it_listens(), 10)

    async def stop(self) -> None:
        """Let it write down what it holds, and go."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def _until_it_listens(self) -> None:
        while not await self._listens():
            await asyncio.sleep(0.02)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True
