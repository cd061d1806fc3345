#!/usr/bin/env python3
"""Makes two network namespaces, joined by a link in user space that delays, loses, doubles, damages and reorders packets.

usage: bad-link.py ADDRESS-A ADDRESS-B JSON

JSON: {"seed": n, "forth": WAY, "back": WAY}, forth is from A to B. WAY: rateKbit (a bottleneck with a buffer of one round trip), delayMs,
jitterMs, loss and duplicate and corrupt and reorder (shares of packets), burstMs (mean length of a fade: while it lasts everything is
lost, as on a radio link; 0: each packet on its own). One bit of a damaged packet is wrong. Prints the paths
of the namespaces, for nsenter --net=PATH, and ends when its input is closed. They have no names: they are gone with whoever uses them.

Needs root and /dev/net/tun. From the link of the project's own test rigs (tunlink.py), with a rate, fades and a seed added.
"""
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 1400
libc = ctypes.CDLL(None, use_errno=True)


def open_end(address, peer):
    """A new namespace with a tun device, whose packets this process carries: path of the one, descriptor of the other."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"bad0", IFF_TUN | IFF_NO_PI))
    for command in (["addr", "add", address, "peer", peer, "dev", "bad0"], ["link", "set", "bad0", "up", "mtu", str(MTU)], ["link", "set", "lo", "up"]):
        subprocess.check_call(["ip", *command])
    if libc.setns(here, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(here)
    return f"/proc/{os.getpid()}/fd/{namespace}", tun


class Way:
    """One direction: says when a packet that is sent now arrives, as a list of moments; none: it is lost."""

    def __init__(self, chance, out, round_trip, rateKbit=0, delayMs=0, jitterMs=0, loss=0, burstMs=0, duplicate=0, corrupt=0, reorder=0):
        self.chance, self.out = chance, out
        self.rate = rateKbit * 125.0  # bytes a second
        self.delay, self.jitter, self.burst = delayMs / 1000, jitterMs / 1000, burstMs / 1000
        self.loss, self.duplicate, self.corrupt, self.reorder = loss, duplicate, corrupt, reorder
        self.buffer = max(round_trip, 0.02)
        self.free_at = self.last = 0.0
        self.in_fade, self.until = True, time.monotonic()  # begins clear

    def faded(self, now):
        if self.burst == 0 or self.loss == 0:
            return self.chance.random() < self.loss
        while now >= self.until:
            self.in_fade = not self.in_fade
            mean = self.burst if self.in_fade else self.burst * (1 - self.loss) / self.loss
            self.until += self.chance.expovariate(1 / mean)
        return self.in_fade

    def arrivals(self, size, now):
        begin = max(self.free_at, now)
        if begin - now > self.buffer and self.rate:
            return []  # the buffer is full
        self.free_at = begin + (size / self.rate if self.rate else 0)
        if self.faded(now):
            return []
        at = self.free_at + max(0.0, self.delay + self.chance.uniform(-self.jitter, self.jitter))
        if self.chance.random() < self.reorder:
            return [at + self.chance.uniform(0.001, 0.02)]  # others overtake it
        self.last = max(self.last, at)
        return [self.last] * (2 if self.chance.random() < self.duplicate else 1)

    def damaged(self, packet):
        if self.chance.random() >= self.corrupt:
            return packet
        i = self.chance.randrange(len(packet))
        return packet[:i] + bytes([packet[i] ^ (1 << self.chance.randrange(8))]) + packet[i + 1 :]


def main():
    ip_a, ip_b, text = sys.argv[1:4]
    options = json.loads(text)
    chance = random.Random(options["seed"])
    (path_a, a), (path_b, b) = open_end(ip_a, ip_b), open_end(ip_b, ip_a)
    round_trip = (options["forth"].get("delayMs", 0) + options["back"].get("delayMs", 0)) / 1000
    ways = {a: Way(chance, b, round_trip, **options["forth"]), b: Way(chance, a, round_trip, **options["back"])}
    queue, order = [], 0
    print(json.dumps([path_a, path_b]), flush=True)
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        ready = select.select([a, b, 0], [], [], wait)[0]
        if 0 in ready and not os.read(0, 4096):
            return
        for fd in ready:
            for _ in range(64 if fd else 0):
                try:
                    packet = os.read(fd, 65536)
                except BlockingIOError:
                    break
                way = ways[fd]
                for at in way.arrivals(len(packet), time.monotonic()):
                    order += 1
                    heapq.heappush(queue, (at, order, way.out, way.damaged(packet)))
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, _, out, packet = heapq.heappop(queue)
            try:
                os.write(out, packet)
            except OSError:
                pass  # the device was full, or refuses a packet that is no longer one


main()
