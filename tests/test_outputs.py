"""Commands that read results refuse an output they cannot write before they begin (fault 41)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from support.report_runs import LARGE, make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    cases = {"case_1": (LARGE, LARGE), "case_2": (LARGE, LARGE)}
    return [make_run(folder / name, cases, name=name) for name in ("a", "b")]


@pytest.mark.parametrize("place", ["file", "file/inside", "file/in/side"])
@pytest.mark.parametrize(
    ("stage", "arguments", "work"),
    [
        ("report", ["run={a}"], "write_report"),
        ("collect", ["sweep={a}"], "collect"),
        ("compare", ["runs=[{a},{b}]"], "compare_runs"),
        ("rank", ["published={table}", "evaluation={a}"], "rank_teams"),
    ],
)
@pytest.mark.slow
def test_an_unwritable_output_is_refused_first(
    stage: str, arguments: list[str], work: str, place: str, runs: list[Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "table.csv").write_text("Case,Dice,ASSD,Team\n1,0.5,7.0,x\n2,0.4,9.0,x\n")
    output = tmp_path / place
    # A folder where the report's file is to be, a file where the others' folder is.
    if stage == "report" and place == "file":
        output.mkdir()
    else:
        (tmp_path / "file").write_text("")
    monkeypatch.setattr(f"lnq.{stage}.{work}", lambda *_, **__: pytest.fail("it began"))
    given = {"a": runs[0], "b": runs[1], "table": tmp_path / "table.csv"}
    with pytest.raises(SystemExit) as stop:
        import_module(f"lnq.{stage}").main([
            *(argument.format(**given) for argument in arguments), f"output={output}",
            f"paths.outputs={tmp_path}",
        ])  # fmt: skip
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "cannot write the output" in said
    assert str(output) in said
