"""Numbers as Pacific prints them."""

from __future__ import annotations

from cephmonfs.demo.texts import age, number, size


def test_numbers_for_people() -> None:
    assert [size(n) for n in (0, 1023, 1024, 6.23 * 2**40, 18.7 * 2**40, 48 * 2**40, 118.2 * 2**20)] == [
        "0 B",
        "1023 B",
        "1 KiB",
        "6.2 TiB",
        "19 TiB",
        "48 TiB",
        "118 MiB",
    ]
    assert [number(n) for n in (22, 2_860_000, 262_900)] == ["22", "2.86M", "262.90k"]
    assert [age(n) for n in (5, 119, 300, 10000, 300000, 40 * 86400, 900 * 86400)] == [
        "5s",
        "119s",
        "5m",
        "2h",
        "3d",
        "5w",
        "2y",
    ]
