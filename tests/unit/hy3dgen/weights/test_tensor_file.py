"""Files are opened lazily, read strictly, and never executed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hy3dgen.errors import CheckpointError
from hy3dgen.weights import tensor_file
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


def test_a_pickled_checkpoint_is_read_part_by_part(tmp_path: Path) -> None:
    parts = {"model": {"a": torch.ones(2)}, "vae": {"a": torch.zeros(3)}, "step": 7}
    torch.save(parts, tmp_path / "some.ckpt")
    opened = open_weights(tmp_path / "some.ckpt", CPU, use_safetensors=False, pickled_parts=("model", "vae"))
    with opened as file:
        assert file.shapes == {"model.a": (2,), "vae.a": (3,)}
        assert torch.equal(file.read("model.a"), torch.ones(2))
        assert torch.equal(file.read("vae.a"), torch.zeros(3))


@pytest.mark.parametrize("held", [{"model": {"a": torch.ones(1)}}, {"model": 1, "vae": {}}, [1]])
def test_a_pickled_checkpoint_without_its_parts_is_refused_with_their_names(
    tmp_path: Path, held: object
) -> None:
    torch.save(held, tmp_path / "some.ckpt")
    opened = open_weights(tmp_path / "some.ckpt", CPU, use_safetensors=False, pickled_parts=("model", "vae"))
    with pytest.raises(CheckpointError, match="no checkpoint of the parts model, vae"), opened:
        pass


@pytest.mark.parametrize("is_pickled", [False, True])
def test_a_file_that_is_mapped_anew_after_each_tensor_gives_the_same_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_pickled: bool
) -> None:
    monkeypatch.setattr(tensor_file, "MIN_REMAP_BYTES", 0)
    monkeypatch.setattr(tensor_file, "NUM_REMAPS", 10**9)
    monkeypatch.setattr(tensor_file, "NUM_PICKLE_REMAPS", 10**9)
    tensors = {f"t{n}": torch.randn(n + 1, 3, generator=torch.Generator().manual_seed(n)) for n in range(9)}
    path = tmp_path / ("some.ckpt" if is_pickled else "some.safetensors")
    if is_pickled:
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    with (open_pickled_tables if is_pickled else open_weights)(path, CPU) as file:
        read = [(name, file.read(name)) for name in (*tensors, *reversed(tensors))]
    # Those that were read first too: a new mapping takes nothing from them.
    assert all(torch.equal(one, tensors[name]) for name, one in read)
