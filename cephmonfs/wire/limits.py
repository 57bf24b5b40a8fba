"""Every bound on an untrusted size, each with its reason.

None of these is enforced by the protocol itself; they are chosen well above what
real monitors of four releases sent, and well below what would hurt this machine.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_BANNER_PAYLOAD: Final = 64  # real: 16
MAX_PREAUTH_FRAME: Final = 160 * KIB  # before AUTH_DONE the peer is anyone; real: 1.3 KiB, but tickets may be huge
MAX_PREAUTH_BYTES: Final = 256 * KIB  # of a whole handshake; real: 4 KiB, with the largest tickets 140
MAX_FRONT: Final = 64 * MIB  # a full OSDMap of a very big cluster is some tens of MiB
MAX_MIDDLE: Final = 0  # no monitor message has one
MAX_DATA: Final = 64 * MIB  # the output of one command
MAX_MESSAGE: Final = 96 * MIB  # front and data together
MAX_SOCKADDR: Final = 128  # sockaddr_storage
MAX_ADDRVEC: Final = 32  # a daemon has one address per protocol and family
MAX_MONS: Final = 256  # Ceph's own tests stop at 21
MAX_TICKETS: Final = 16  # one per service type
MAX_TICKET_BLOB: Final = 64 * KIB  # they grow with caps; krbd's "huge tickets" test has 50 KiB
MAX_SECRET: Final = 64  # the connection secret is 64 bytes, keys are 16 or 32
MAX_NAME: Final = 4 * KIB  # entity, file system, pool and host names
MAX_STRING: Final = 1 * MIB  # texts of a command's status line
MAX_SENTENCE: Final = 1000  # characters of a sentence that is shown: the longest health summaries have some 300
MAX_JSON: Final = 8 * MIB  # an answer that is read: `df detail` of 10,000 pools; files of ceph/ are not read
MAX_JSON_VALUES: Final = 300_000  # in one answer, each up to 110 bytes of memory; 11,000 pools of `df detail`
MAX_JSON_DIGITS: Final = 20  # of an integer: 64 bits and a sign
MAX_POOLS_TOLD: Final = 10_000  # of one `df detail`
MAX_COMMANDS_TOLD: Final = 5000  # Tentacle describes 700
MAX_HEALTH_CHECKS: Final = 1000  # Ceph has some 100 codes
MAX_HEALTH_DETAIL: Final = 1000  # lines of one check; mon_health_max_detail is 50
MAX_AUTH_METHODS: Final = 32
MAX_OSDS: Final = 1 << 17  # that a few bytes may claim; the largest clusters known have some tens of thousands
MAX_POOLS: Final = 1 << 14  # each up to 1 KiB of memory and 0.1 ms; clusters have some hundreds
MAX_VALUES: Final = 400_000  # in all lists of one map, about 100 bytes of memory each; 10,000 OSDs have some 100,000
MAX_MAP_ITEMS: Final = 1 << 20  # OSDs, pools, MDS: further bounded by the bytes that are there
