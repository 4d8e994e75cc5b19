"""Files are opened lazily, read strictly, and never executed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hy3dgen.errors import CheckpointError
from hy3dgen.weights.tensor_file import CountedFile, PrefixedFile, open_pickled_tables, open_weights

CPU = torch.device("cpu")
TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(4), "skip.me": torch.zeros(10)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "some.safetensors", metadata={"config": "{}"})
    return tmp_path / "some.safetensors"


def test_names_shapes_header_and_tensors_are_those_of_the_file(path: Path) -> None:
    with open_weights(path, CPU) as file:
        assert file.shapes == {name: tuple(one.shape) for name, one in TENSORS.items()}
        assert file.header == {"config": "{}"}
        assert all(torch.equal(file.read(name), one) for name, one in TENSORS.items())


def test_a_prefix_is_seen_before_every_name(path: Path) -> None:
    with open_weights(path, CPU) as bare:
        file = PrefixedFile(bare, "vae.")
        assert set(file.shapes) == {f"vae.{name}" for name in TENSORS}
        assert torch.equal(file.read("vae.b"), TENSORS["b"])
        assert file.header == bare.header


def test_the_share_that_was_read_counts_numbers_once_and_leaves_out_what_is_ignored(path: Path) -> None:
    shares: list[float] = []
    with open_weights(path, CPU) as file:
        counted = CountedFile(file, shares.append, ignored=("skip.",))
        for name in ("a.weight", "a.weight", "b"):
            counted.read(name)
    assert shares == pytest.approx([0.6, 0.6, 1.0])


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    for opening in (open_weights, open_pickled_tables):
        with pytest.raises(CheckpointError, match=r"no weights at .*gone"), opening(tmp_path / "gone", CPU):
            pass


@pytest.mark.parametrize("keep", [0, 4, 100])
def test_a_file_that_ends_early_is_damaged(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="damaged"), open_weights(path, CPU):
        pass


def test_nested_tables_of_a_pickle_get_their_key_as_prefix(tmp_path: Path) -> None:
    torch.save({"model": {"b": torch.ones(2)}, "c": torch.zeros(3)}, tmp_path / "some.ckpt")
    with open_pickled_tables(tmp_path / "some.ckpt", CPU) as file:
        assert file.shapes == {"model.b": (2,), "c": (3,)}
        assert torch.equal(file.read("model.b"), torch.ones(2))


def test_a_pickle_that_would_run_a_program_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    (tmp_path / "evil.ckpt").write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
    with (
        pytest.raises(CheckpointError, match=r"evil\.ckpt"),
        open_pickled_tables(tmp_path / "evil.ckpt", CPU),
    ):
        pass
    assert not marker.exists()


@pytest.mark.parametrize("held", [[torch.ones(1)], {"model": {"step": "many"}}])
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "other.ckpt")
    with (
        pytest.raises(CheckpointError, match=r"other\.ckpt"),
        open_pickled_tables(tmp_path / "other.ckpt", CPU),
    ):
        pass
