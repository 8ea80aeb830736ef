"""The presets are points on one curve."""

from __future__ import annotations

from streamd.core.policy import PRESETS, Policy


def test_a_calmer_preset_asks_for_more() -> None:
    fast, balanced, calm = (PRESETS[name] for name in ("fast", "balanced", "calm"))
    assert fast.show < balanced.show < calm.show
    assert fast.show_after_s < balanced.show_after_s < calm.show_after_s
    assert balanced == Policy()
