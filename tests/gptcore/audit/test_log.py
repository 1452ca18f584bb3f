import gzip
import json
import time

import numpy as np
import pytest

from gptcore.audit.log import read_log


def write(tmp_path, content, name="log.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "start,length,epoch\n0,4,0\n4,4,1\n",
        "start,length,epoch\r\n0,4,0\r\n4,4,1\r\n",
        "\ufeffstart,length,epoch\n0,4,0\n4,4,1",
        " Start , LENGTH,Epoch\n0, 4,0\n\n4,4,1\n\n",
        "epoch,note,length,start\n0,a,4,0\n1,b,4,4\n",
        'start,"length",epoch\n"0","4",0\n4,4,1\n',
        "start,length,epoch\n0.0,4.0,0\n4,4.0,1\n",
        '{"start": 0, "length": 4, "epoch": 0}\n\n{"epoch": 1, "length": 4, "start": 4, "x": []}\n',
        '{"Start": 0, "length ": 4.0, "epoch": 0}\n{"start": 4, "length": 4, "epoch": 1}',
        gzip.compress(b"start,length,epoch\n0,4,0\n4,4,1\n", mtime=0),
    ],
)
def test_log_is_read_as_people_write_it(tmp_path, content):
    log = read_log(write(tmp_path, content), n_tokens=20)
    assert (log.start.tolist(), log.length.tolist()) == ([0, 4], [4, 4])
    assert log.epoch.tolist() == [0, 1]
    assert log.rank is log.step is None


def test_block_size_stands_in_for_a_missing_length(tmp_path):
    log = read_log(write(tmp_path, "start\n0\n4\n"), n_tokens=20, block_size=4)
    assert log.length.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("start,length\n", "no draws"),
        ("0,4\n4,4\n", "line 1 has no start and no length among 0, 4"),
        ("start,length,Start\n0,4,0\n", "line 1: the column start is named twice"),
        ("start,length\n0,4\n4\n", "line 3 has 1 values and the header 2"),
        ("start,length\n0,4\n\n4,4,4\n", "line 4 has 3 values"),
        ("start,length\n0,4\n4,\n", "line 3 has length ''"),
        ("start,length\n0,4\n4,nan\n", "line 3 has length 'nan'"),
        ("start,length\n0,4\n4.5,4\n", "line 3 has start '4.5'"),
        ("start,length\n0,4\n1e400,4\n", "line 3 has start '1e400'"),
        ("start,length\n0,4\n99999999999999999999,4\n", "line 3 has start '9999"),
        ("start,length\n0,4\n-1,4\n", "line 3 has start -1: it must be 0 or more"),
        ("start,length\n0,0\n", "line 2 has length 0: it must be 1 or more"),
        ("start,length,rank\n0,4,-1\n", "line 2 has rank -1"),
        ("start,length\n0,4\n16,4\n", "line 3 .* outside the 20 tokens"),
        ("start,length\n9223372036854775806,4\n", "line 2 .* outside the 20 tokens"),
        ("start,length\n0,5\n", "line 2 has length 5 and block_size is 4"),
        (b"start,length\n\xff,4\n", "not UTF-8"),
        (b"\x93NUMPY\x01", "token batches"),
        ("start" * 10**6, "more than 1,048,576 characters in line 1"),
        ("start,length\n" + "8" * 10**7, "more than 1,048,576 characters in line 2"),
        (bytes(1000), "NUL character in line 1"),
        ("\n" * 10**7 + "start,length\n0,4\n", "is empty"),
        (b"\x1f\x8b\x08\x00", "cannot be read"),
        ('{"start": 0, "length": 4}\n{"start": 4, "le', "line 2 is not JSON: is it cut off"),
        ('{"start": 0, "length": 4}\n[4, 4]\n', "line 2 is not a JSON object"),
        ('{"start": 0, "length": 4}\n{"start": 4}\n', "line 2 has no length"),
        ('{"start": 0, "length": 4}\n{"start": true, "length": 4}\n', "line 2 has start True"),
        ('{"start": 0, "length": 4}\n{"start": null, "length": 4}\n', "line 2 has start None"),
        ('{"start": 0, "length": 4}\n{"start": NaN, "length": 4}\n', "line 2 has start nan"),
        ('{"start": 0, "length": 4, "start": 8}\n', "line 1: the key 'start' stands twice"),
        ('{"start": 0, "length": 4, "START": 8}\n', "line 1: the column start is named twice"),
        ('{"start": 0, "length": 4}\n{"start": 0, "length": 4, "epoch": 0}', "line 2 has a epoch"),
        ("start,length,epoch (s)\n0,4,0\n", r"line 1: the column 'epoch \(s\)' has a unit"),
        ("start,length\n1_0,4\n", "line 2 has start '1_0'"),
        ("start,length\n\uff11\uff12,4\n", "line 2 has start '\uff11"),
        ("start,length\n1e-400,4\n", "line 2 has start '1e-400'"),
        ('{"begin": 0, "length": 4}\n', "line 1 has no start among begin, length"),
        ("[[0, 4], [4, 4]]", "one JSON object per line"),
    ],
)
def test_bad_log_is_refused_in_one_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_log(write(tmp_path, content), n_tokens=20, block_size=4)
    assert "\n" not in str(caught.value)


def test_json_nested_too_deep_is_refused_by_its_line(tmp_path):
    content = '{"start":0,"length":4}\n{"start":' + "[" * 100_000
    with pytest.raises(ValueError, match="line 2 is n") as caught:
        read_log(write(tmp_path, content), n_tokens=20)
    assert "\n" not in str(caught.value)


def test_missing_length_is_refused_without_a_block_size(tmp_path):
    with pytest.raises(ValueError, match="line 1 has no length among start"):
        read_log(write(tmp_path, "start,size\n0,4\n"), n_tokens=20)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        read_log(tmp_path / "none.csv", n_tokens=20)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_long_log_is_read_in_bounded_time(tmp_path, form):
    starts = np.random.default_rng(0).integers(10**6, size=200_000).tolist()
    if form == "csv":
        lines = ["start,length", *(f"{start},8" for start in starts)]
    else:
        lines = [json.dumps({"start": start, "length": 8}) for start in starts]
    path = write(tmp_path, "\n".join(lines))
    begun = time.perf_counter()
    log = read_log(path, n_tokens=10**6 + 8)
    assert log.start.tolist() == starts
    # 0.02 s and 0.5 s when written; a quadratic reader takes minutes.
    assert time.perf_counter() - begun < 10
