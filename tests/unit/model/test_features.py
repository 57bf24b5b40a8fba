"""Feature bits and their incarnations."""

from __future__ import annotations

from cephmonfs.model.features import DEFAULT_FEATURES, REQUIRED, Feature, has, names


def test_masks_that_monitors_were_seen_to_have() -> None:
    nautilus, tentacle = 0x3FFDDFF8FFECFFFF, DEFAULT_FEATURES
    assert REQUIRED == 0x0800000000000000
    assert has(nautilus, Feature.SERVER_NAUTILUS)
    assert not has(nautilus, Feature.SERVER_SQUID)
    assert has(nautilus, Feature.SERVER_TENTACLE)  # no: its bit 50 is still the retired one; a mask tells no release
    assert all(has(tentacle, feature) for feature in Feature.__members__.values())


def test_a_bit_without_its_incarnation_is_another_feature() -> None:
    assert has(DEFAULT_FEATURES, Feature.SERVER_NAUTILUS)
    for bit in (2, 28, 57):
        assert not has(DEFAULT_FEATURES & ~(1 << bit), Feature.SERVER_NAUTILUS)
    assert has(DEFAULT_FEATURES & ~(1 << 28), Feature.SERVER_LUMINOUS)
    assert not has(DEFAULT_FEATURES & ~(1 << 57), Feature.SERVER_LUMINOUS)


def test_names() -> None:
    assert names(0) == ()
    assert names(1 << 36 | 1 << 59) == ("CRUSH_V2", "MSG_ADDR2")
    assert names(Feature.SERVER_NAUTILUS) == ("SERVER_NAUTILUS", "SERVER_MIMIC", "SERVER_JEWEL")
    assert names(1 << 3) == ("bit 3",)
