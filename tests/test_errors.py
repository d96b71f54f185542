import subprocess
import sys

import pytest

from cityseg_utils.errors import DataError, run_command


def refused():
    raise DataError("two faults:", ["a.png: is gone", "b.png: is gone"])


@pytest.mark.parametrize(("main", "status"), [(refused, 1), (lambda: None, None), (lambda: 3, 3)])
def test_a_command_ends_with_a_status_and_says_an_error_of_ours_in_words(main, status, capsys):
    with pytest.raises(SystemExit) as ended:
        run_command(main)
    assert ended.value.code == status
    said = capsys.readouterr().err
    assert said == ("two faults:\n  - a.png: is gone\n  - b.png: is gone\n" if status == 1 else "")


def test_what_is_no_error_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)


@pytest.mark.parametrize("module", ["shrinking", "shards", "propose", "final_project", "grade"])
def test_commands_say_what_is_wrong_without_a_traceback(module, tmp_path):
    arguments = {
        "shrinking": ["nowhere", "out", "--size", "32", "64"],
        "shards": ["nowhere", "out", "--size", "32", "64"],
        "propose": ["nowhere", "nowhere", "out"],
        "final_project": ["score", "nowhere"],
        "grade": ["nowhere"],
    }
    command = [sys.executable, "-m", f"cityseg_utils.{module}", *arguments[module]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nowhere" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
