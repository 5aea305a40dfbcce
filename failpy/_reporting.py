"""Reporting of a run of pytest: what every process of it did with the failpoints, put together at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from failpy._collector import FOLDER, Collector
from failpy._coverage import Coverage, coverage
from failpy._coverage_words import percentage
from failpy._locating import body_of
from failpy._observer import observing
from failpy._options import Options
from failpy._source import read_source
from failpy._tally_file import gathered, imported_files

__all__ = ["Reporting"]


class Reporting:
    """The collector of this process, and in the one that leads the run, the report.

    Args:
        config: That of pytest.
        options: What was asked for.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self._config = config
        self._options = options
        self._leads = not hasattr(config, "workerinput")
        self._before = os.environ.get(FOLDER)
        self._coverage: Coverage | None = None
        self._written: list[str] = []
        self._wrong: list[str] = []
        # A worker began to collect when it imported failpy, unless that compiled failpoints out.
        mine = [each for each in observing.now if isinstance(each, Collector)]
        if self._leads:
            self._folder = os.environ[FOLDER] = tempfile.mkdtemp(prefix="failpy-report-")
        else:
            self._folder = self._before or ""
            if not self._folder and not mine:
                raise pytest.UsageError(
                    "--failpoints-report needs workers on this machine, with the environment of the run: "
                    "leave the report out where they are elsewhere"
                )
        if mine and not self._leads:
            self._collector = mine[0]
        else:
            self._collector = Collector(self._folder, writes=not self._leads)
            observing.add(self._collector)
        self._collector.begin("", None)  # another run's test may be what starts this one
        config.pluginmanager.register(self, "failpy-reporting")

    def begin_test(self, item: pytest.Item) -> None:
        """What is done from now on is done by this test."""
        self._collector.begin(item.nodeid, body_of(item))

    def end_test(self, raised: BaseException | None) -> None:
        """It is over, and this is what its body raised."""
        self._collector.settle(raised)
        self._collector.begin("", None)

    # After the workers have ended, and before the terminal's summary.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Put the report together, and fail the run if too little has fired."""
        result = yield
        if not self._leads:
            self._collector.finish()
            return result
        tally, files = self._collector.tally(), imported_files()
        for others, theirs in gathered(self._folder):
            tally.add(others)
            files += theirs
        here = [file for file in dict.fromkeys(files) if Path(file).is_file()]
        self._coverage = coverage(
            tally, self._config.rootpath, source=read_source(here), omit=self._options.omit
        )
        self._write(self._coverage)
        self._judge(self._coverage)
        if self._wrong and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result

    def _judge(self, found: Coverage) -> None:
        least = self._options.fail_under
        if least and not found.points:
            self._wrong.append("no failpoint was declared, so --failpoints-fail-under has nothing to look at")
        elif least is not None and found.percent < least:
            have = percentage(found.fired, found.points)
            self._wrong.append(
                f"{have} of the failpoints have fired, less than the {least:g} % of --failpoints-fail-under"
            )

    def _write(self, found: Coverage) -> None:
        for kind, path in self._options.reports.items():
            if kind == "json":
                from failpy._coverage_json import render
            elif kind == "html":
                from failpy._coverage_html import render
            elif kind == "lcov":
                from failpy._coverage_lcov import render
            else:
                continue
            file = self._config.invocation_params.dir / path
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(render(found), "utf-8")
            except OSError as exc:
                self._wrong.append(
                    f"--failpoints-report={kind} cannot write {str(file)!r}: {exc.strerror}; "
                    f"give another file, as in --failpoints-report={kind}:FILE"
                )
            else:
                self._written.append(f"{kind} report: {path}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what there is to print."""
        found = self._coverage
        if found is None:
            return
        writer = terminalreporter
        writer.section("failpoints")
        if "term" in self._options.reports:
            from failpy._coverage_term import lines

            for text, markup in lines(found, writer._tw.fullwidth, verbose=writer.verbosity > 0):
                writer.write_line(text, **markup)
        for text in self._written:
            writer.write_line(text)
        for text in self._wrong:
            writer.write_line(f"FAIL: {text}", red=True, bold=True)

    def end(self) -> None:
        """The run is over: leave nothing behind."""
        if not self._leads:
            return
        observing.drop(self._collector)
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._before is None:
            os.environ.pop(FOLDER, None)
        else:
            os.environ[FOLDER] = self._before
