"""What all tests share: real clusters, made when first asked for and once a run, and what is skipped when and why."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster
from tests.support.release import RELEASES, ClusterUnavailable

# Set by CI: a test that cannot run for want of a cluster or of FUSE is a failure there, not a skip.
_REQUIRE = bool(os.environ.get("CEPHMONFS_REQUIRE_ALL"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests too")
    parser.addoption("--keep-clusters", action="store_true", help="keep the directories (logs) of clusters")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        top = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        if top in ("cluster", "fuse"):
            item.add_marker(top)
        if item.get_closest_marker("soak") and not config.getoption("--soak"):
            item.add_marker(pytest.mark.skip(reason="long: only with --soak"))

    items.sort(key=lambda item: _rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal out whole files, and those that share whole clusters to one worker: each worker would start its own."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class ByClusters(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return ByClusters(config, log)


# Files whose tests want whole clusters: of all four releases, or of two.
_SHARING = {
    "four releases": (
        "cluster/test_harness",
        "cluster/test_matrix",
        "cluster/test_mount",
        "cluster/test_programs",
        "security/test_proxy",
    ),
    "two releases": (
        "cluster/test_auth_modes",
        "cluster/test_check",
        "cluster/test_debug",
        "cluster/test_metrics",
        "cluster/test_sentences",
        "docs/test_docs",
        "security/test_secrets",
        "system/",
    ),
}
# What takes long begins first.
_LONG = ("four releases", "two releases", "cluster/test_finding", "security/test_hostile", "cluster/", "security/")


def scope_of(nodeid: str) -> str:
    """Return what goes to one worker together with this test: its file, or the files that share its clusters."""
    path = nodeid.partition("::")[0].partition("tests/")[2]
    for scope, files in _SHARING.items():
        if path.startswith(files):
            return scope
    return path


def _rank(nodeid: str) -> int:
    scope = scope_of(nodeid)
    return next((rank for rank, start in enumerate(_LONG) if scope.startswith(start)), len(_LONG))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("fuse"):
        problem = _no_fuse()
        if problem:
            unavailable(f"no FUSE mounts here: {problem}")


def _no_fuse() -> str | None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened"
    if shutil.which("fusermount3") is None:
        return "fusermount3 is missing"
    return None


def unavailable(reason: str) -> None:
    """Skip, or fail where everything has to run."""
    if _REQUIRE:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class ClusterFactory:
    """Makes clusters in short directories and ends them all, whatever happened in between."""

    def __init__(self, keep: bool) -> None:
        self._stack = contextlib.ExitStack()
        self._keep = keep

    def __call__(self, **options: Any) -> Cluster:
        """`Cluster.create` with these options; its directory is made and removed by us."""
        directory = Path(tempfile.mkdtemp(prefix=f"cmfs-{options.get('release', 'pacific')}-"))
        if not self._keep:
            self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            cluster = Cluster.create(directory=directory, **options)
        except ClusterUnavailable as exc:
            unavailable(str(exc))
            raise
        return self._stack.enter_context(cluster)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def cluster_factory(request: pytest.FixtureRequest) -> Iterator[ClusterFactory]:
    """For tests that break their cluster: `cluster_factory(release=..., mons=3, ...)`; under a second for three."""
    factory = ClusterFactory(bool(request.config.getoption("--keep-clusters")))
    with contextlib.closing(factory):
        yield factory


@pytest.fixture(scope="session")
def clusters(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Cluster]]:
    """`clusters("reef")`: the whole cluster (three mons, mgr, OSD, MDS, one file system) of a release.

    Shared by the whole run: do not break it, and leave behind only what no other test looks at.  Those that the
    collected tests name start side by side, as most of their seconds are waiting.
    """
    factory = ClusterFactory(bool(request.config.getoption("--keep-clusters")))
    made: dict[str, Future[Cluster]] = {}

    def begin(release: str) -> Future[Cluster]:
        if release not in made:
            made[release] = pool.submit(factory, release=release, mons=3, mgr=True, osds=1, mds=1)
        return made[release]

    with contextlib.closing(factory), ThreadPoolExecutor(len(RELEASES)) as pool:
        scope = scope_of(os.environ["PYTEST_CURRENT_TEST"])
        for release in _named_releases([item for item in request.session.items if scope_of(item.nodeid) == scope]):
            begin(release)
        yield lambda release: begin(release).result()


def _named_releases(items: list[pytest.Item]) -> list[str]:
    named: set[str] = set()
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        named.update(release for release in ("pacific", "tentacle") if release in fixtures)
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "any_release" in callspec.params:
            named.add(callspec.params["any_release"])
        if "clusters" in fixtures and callspec is not None and "row" in callspec.params:
            named.add(callspec.params["row"][0])  # test_matrix.py
    return [release for release in RELEASES if release in named]


@pytest.fixture(scope="session")
def pacific(clusters: Callable[[str], Cluster]) -> Cluster:
    return clusters("pacific")


@pytest.fixture(scope="session")
def tentacle(clusters: Callable[[str], Cluster]) -> Cluster:
    return clusters("tentacle")


@pytest.fixture(scope="session", params=RELEASES)
def any_release(request: pytest.FixtureRequest, clusters: Callable[[str], Cluster]) -> Cluster:
    """The whole cluster of each of the four releases in turn."""
    return clusters(request.param)
