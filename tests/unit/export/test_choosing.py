"""The run with the lowest dev loss."""

import pytest
from mindtune.cli import UserError
from mindtune.export.choosing import dev_losses, lowest

HEAD = "step,loss,dev_loss\n"


def histories(folder, **texts):
    found = {}
    for name, text in texts.items():
        found[name] = folder / f"{name}.csv"
        found[name].write_text(HEAD + text, encoding="utf-8")
    return found


def records(**steps):
    return {name: {"facts": {"kept_step": step}} for name, step in steps.items()}


def test_the_loss_is_that_of_the_step_whose_adapter_was_kept(tmp_path):
    files = histories(tmp_path, a="1,4.0,\n2,3.0,2.5\n4,2.0,2.75\n", b="2,3.0,2.625\n4,2.0,2.625\n")
    losses = dev_losses(files, records(a=2, b=4))
    assert losses == {"a": 2.5, "b": 2.625} and lowest(losses) == "a"
    assert lowest(dev_losses(files, records(a=4, b=4))) == "b"


def test_of_equal_losses_the_first_name_is_chosen():
    assert lowest({"b": 1.0, "a": 1.0, "c": 2.0}) == "a"


@pytest.mark.parametrize("step", [1, 3])
def test_a_step_without_a_dev_loss_is_one_sentence(tmp_path, step):
    files = histories(tmp_path, a="1,4.0,\n2,3.0,2.5\n")
    with pytest.raises(UserError, match=f"no dev loss at step {step}, whose adapter was kept"):
        dev_losses(files, records(a=step))
