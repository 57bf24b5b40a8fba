"""The plots of the growth: SVG, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Point = Mapping[str, float]

_COLOURS: Final = ("#0b6e99", "#c2571a", "#6b8e23")


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram: keys of the points with their names in the legend."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    log: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """One file: panels side by side over the same axis."""

    name: str
    x: str
    panels: tuple[Panel, ...]
    log_x: bool = True


PLOTS: Final = (
    Plot(
        "mons",
        "monitors",
        (
            Panel("mount to first df", "s", (("first_df_s", ""),)),
            Panel("statfs p50, one caller", "us", (("p50_us", ""),)),
            Panel("resident memory", "MiB", (("rss_mib", ""),)),
        ),
        log_x=False,
    ),
    Plot(
        "osds",
        "OSDs",
        (
            Panel("loop stall as an osdmap arrives", "ms", (("stall_ms", ""),)),
            Panel(
                "first reading",
                "ms",
                (("osdmap_first_ms", "osdmap"), ("osdmap.json_first_ms", "osdmap.json")),
                log=True,
            ),
            Panel("resident memory", "MiB", (("rss_mib", "mounted"), ("rss_read_mib", "osdmap read"))),
        ),
    ),
    Plot(
        "callers",
        "callers",
        (
            Panel(
                "statfs a second",
                "1/s",
                (("cephmonfs_per_s", "cephmonfs"), ("ceph-fuse_per_s", "ceph-fuse"), ("librados_per_s", "librados")),
            ),
            Panel(
                "p99",
                "us",
                (("cephmonfs_p99_us", "cephmonfs"), ("ceph-fuse_p99_us", "ceph-fuse"), ("librados_p99_us", "librados")),
                log=True,
            ),
            Panel("requests to a monitor per statfs", "", (("requests_per_statfs", "cephmonfs"),)),
        ),
    ),
    Plot(
        "mounts",
        "mounts",
        (
            Panel("memory of all mounts (PSS)", "MiB", (("pss_mib", ""),), log=True),
            Panel("CPU of all mounts, idle", "% of a core", (("idle_cpu_percent", ""),), log=True),
            Panel("messages the monitors receive, mounts idle", "1/s", (("mons_received_per_s", ""),)),
        ),
    ),
)


def draw(plot: Plot, points: Sequence[Point], path: Path) -> None:
    """Write one SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    settings: dict[str, Any] = {
        "svg.hashsalt": plot.name,
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
    }
    with mpl.rc_context(settings):
        figure, all_axes = plt.subplots(1, len(plot.panels), figsize=(3.6 * len(plot.panels), 2.9), squeeze=False)
        for axes, panel in zip(all_axes[0], plot.panels, strict=True):
            for (key, label), colour in zip(panel.lines, _COLOURS, strict=False):
                here = [point for point in points if key in point]
                xs, ys = [point["x"] for point in here], [point[key] for point in here]
                axes.plot(xs, ys, marker="o", markersize=3, color=colour, label=label or None)
            axes.set_title(panel.title + (f" [{panel.unit}]" if panel.unit else ""), fontsize=9)
            axes.set_xlabel(plot.x)
            if plot.log_x:
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter("{x:,.10g}")
            if panel.log:
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter("{x:,.10g}")
                axes.yaxis.set_minor_formatter("")
            else:
                axes.set_ylim(bottom=0)
            if any(label for _, label in panel.lines):
                axes.legend(frameon=False, fontsize=8)
        figure.tight_layout()
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
