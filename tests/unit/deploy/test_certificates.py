"""Certificates have days on which they hold, and a signature has no day at all."""

import pytest
from certificates import SIGNER, dated
from mindtune.cli import UserError
from mindtune.export.signing import sign
from signed_export import make_export
from verify_signature import verify


@pytest.fixture
def export(tmp_path):
    """An export without a signature."""
    return make_export(tmp_path / "export")


LONG = (-400, 400)


@pytest.mark.parametrize(
    ("authority_s", "between_s", "leaf_s", "said"),
    [
        (LONG, LONG, LONG, None),
        (LONG, LONG, (-30, -1), "its signer's certificate ran out on 20"),
        (LONG, LONG, (2, 30), "its signer's certificate holds only from 20"),
        (LONG, (-400, -1), (-30, 30), "does not vouch for its signer today: certificate has exp"),
        ((-400, -1), LONG, (-30, 30), "does not vouch for its signer today: certificate has exp"),
    ],
)
def test_a_certificate_that_has_run_out_does_not(
    export, tmp_path, authority_s, between_s, leaf_s, said
):
    """Nothing says when the signature was made: before that day, or long after the key was lost."""
    authority = dated(tmp_path, "authority", authority_s)
    between = dated(tmp_path, "between", between_s, authority)
    private, made = dated(tmp_path, "leaf", leaf_s, between)
    made.write_bytes(made.read_bytes() + between[1].read_bytes())
    sign(export, private, certificates=made)
    if said:
        with pytest.raises(UserError, match=said) as error:
            verify(export, None, authority[1], SIGNER)
        assert "cannot be trusted any more" in str(error.value)
    else:
        assert verify(export, None, authority[1], SIGNER).startswith("OK: ")
