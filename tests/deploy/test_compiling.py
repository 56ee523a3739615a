"""`anchorcam deploy --mpy`: what mpy-cross makes really runs."""

from pathlib import Path

from host_tools.deploy import compiling
from tests.deploy.bench import Bench


def modules(bench: Bench, suffix: str) -> set[str]:
    return {path for path in bench.files() if path.endswith(suffix)}


def test_compiled_and_back(bench: Bench) -> None:
    assert bench.deploy("--no-wait").status == 0
    sources = modules(bench, ".py")
    done = bench.deploy("--mpy")
    assert done.status == 0, done.out + done.err
    assert "✓ first verified snapshot" in done.out
    assert modules(bench, ".py") == {"main.py"}
    assert len(modules(bench, ".mpy")) == len(sources) - 1
    told = bench.run("doctor", "--port", str(bench.port)).out
    assert "✓ deployed" in told, told
    # Source that somebody puts beside it would run instead.
    (bench.flash / "camera/app.py").write_text("print('mine')\n")
    done = bench.deploy("--mpy")
    assert done.status == 1
    assert "not by anchorcam: camera/app.py" in done.err
    assert bench.deploy("--mpy", "--force").status == 0
    assert modules(bench, ".py") == {"main.py"}
    assert bench.deploy().status == 0
    assert modules(bench, ".mpy") == set()
    assert modules(bench, ".py") == sources


def test_a_module_that_is_no_python(tmp_path: Path) -> None:
    image = {"main.py": b"(", "camera/a.py": b"V = 1\n", "config.json": b"{}"}
    made = compiling.compiled(image)
    assert made.keys() == {"main.py", "camera/a.mpy", "config.json"}
    assert made["main.py"] == b"("
    assert made["camera/a.mpy"][:2] == bytes((ord("M"), compiling.version()))
    assert compiling.sources(made) == ["camera/a.py"]
