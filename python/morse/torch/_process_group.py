"""The process group of torch.distributed over gloo, whose ranks find each other through MPI."""

from __future__ import annotations

import datetime
import os
import secrets
import socket
import struct
import sys
import threading
from typing import Optional

import torch
import torch.distributed as dist

from .. import _ending
from .._library import PEER, MorseError
from .._world import World, init

_SIOCGIFADDR = 0x8915
"""Linux: the IPv4 address of a network interface."""


def init_process_group(*, timeout: float = 60, patience: float = 10) -> None:
    """Starts MPI and, for what DDP itself sends (parameters at the start, buffers), gloo; collective.

    Rank and size are MPI's; the address of the store is found and told through MPI, so that neither MASTER_ADDR nor ports have to
    be set. gloo uses the interface that reaches rank 0's host, unless GLOO_SOCKET_IFNAME names another.

    Args:
      timeout: Seconds without progress after which a wait of Morse or gloo for other ranks ends.
      patience: Seconds after which a wait is reported.

    Raises:
      MorseError: If ranks do not find each other, or another launcher has started them.
    """
    world = init(timeout=timeout, patience=patience)
    if dist.is_initialized():
        if dist.get_world_size() != world.size or dist.get_rank() != world.rank:
            raise MorseError(
                f"torch.distributed has started as rank {dist.get_rank()} of {dist.get_world_size()}, and MPI as rank "
                f"{world.rank} of {world.size}: leave the start to morse.torch.init_process_group()")
        return
    _warn_of_binding(world)
    address = _find_rank_zero(world)
    store = _store(world, address, timeout)
    dist.init_process_group(
        "gloo", store=store, rank=world.rank, world_size=world.size, timeout=datetime.timedelta(seconds=timeout))
    _ending.before_the_end(_destroy)


def _destroy() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _store(world: World, address: str, timeout: float) -> dist.Store:
    """The store of the job, in the process of rank 0 at a port that is free; collective."""
    limit = datetime.timedelta(seconds=timeout)
    server: Optional[dist.TCPStore] = None
    if world.rank == 0:
        server = dist.TCPStore(address, 0, world.size, True, limit, wait_for_workers=False)
    port = int(world.broadcast_bytes(str(server.port if server else 0).encode()))
    return server if server else dist.TCPStore(address, port, world.size, False, limit, wait_for_workers=False)


def _warn_of_binding(world: World) -> None:
    """Says so if torch computes with more threads than this process may use cores."""
    usable = len(os.sched_getaffinity(0))
    threads = torch.get_num_threads()
    if world.local_rank == 0 and world.size > 1 and threads > usable:
        print(
            f"morse: torch computes with {threads} threads, but mpirun has bound this rank to {usable} "
            f"core{'' if usable == 1 else 's'}: start with --bind-to none, or --map-by slot:pe={threads}, or set "
            f"OMP_NUM_THREADS={usable}",
            file=sys.stderr)


def interfaces() -> list[tuple[str, str]]:
    """The interfaces of this host that have an IPv4 address, and the addresses; loopback last."""
    import fcntl

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            found.append((name, socket.inet_ntoa(answer[20:24])))
    return sorted(found, key=lambda pair: pair[1].startswith("127."))


def _interface(address: str) -> Optional[str]:
    return next((name for name, own in interfaces() if own == address), None)


class _Greeter:
    """Answers whoever connects with a secret, so that rank 0 is told from anything else at the same address."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.bind(("", 0))
        self.socket.listen(128)
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
                with peer:
                    peer.sendall(self.secret)
            except OSError:
                return

    def close(self) -> None:
        """Ends the answers."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def reached(addresses: list[str], port: int, secret: bytes, timeout: float = 2) -> Optional[tuple[str, str]]:
    """The first address at which the secret is told, and this host's own address on the way there; nil if none is."""
    for address in addresses:
        try:
            with socket.create_connection((address, port), timeout) as peer:
                answer = b""
                while len(answer) < len(secret):
                    part = peer.recv(len(secret) - len(answer))
                    if not part:
                        break
                    answer += part
                if answer == secret:
                    return address, peer.getsockname()[0]
        except OSError:
            continue
    return None


def _find_rank_zero(world: World) -> str:
    """An address of rank 0's host that this rank reaches; sets the interface of gloo if none is set. Collective."""
    if world.host_count == 1:
        _use(_interface("127.0.0.1"))
        return "127.0.0.1"
    secret = world.broadcast_bytes(secrets.token_hex(16).encode())
    greeter = _Greeter(secret) if world.rank == 0 else None
    try:
        own = " ".join(address for _, address in interfaces() if not address.startswith("127."))
        port = greeter.port if greeter else 0
        told = world.broadcast_bytes(f"{port} {own}".encode()).decode().split()
        result = None
        if world.rank != 0:
            result = reached(told[1:], int(told[0]), secret) if told[1:] else None
        answers = [answer.decode() for answer in world.gather_bytes(" ".join(result or ()).encode())]
    finally:
        if greeter:
            greeter.close()
    lost = [str(rank) for rank, answer in enumerate(answers) if rank > 0 and not answer]
    if lost:
        raise MorseError(
            f"rank {', '.join(lost)} reaches none of the addresses of rank 0's host ({', '.join(told[1:]) or 'it has none'}): "
            "open the network between the hosts to TCP, on which gloo exchanges parameters", PEER)
    # A rank of rank 0's own host may have come by an address that others do not reach: the last host's counts for rank 0.
    remote = answers[-1].split()
    mine = answers[world.rank].split() if world.rank else remote
    if world.rank == 0:
        _use(_interface(remote[0]))
        return remote[0]
    _use(_interface(mine[1]))
    return mine[0]


def _use(interface: Optional[str]) -> None:
    if interface and not os.environ.get("GLOO_SOCKET_IFNAME"):
        os.environ["GLOO_SOCKET_IFNAME"] = interface
