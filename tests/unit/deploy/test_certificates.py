"""Certificates have days on which they hold, and a signature has no day at all."""

import json

import pytest
from certificates import SIGNER, certified, dated, leaf
from mindtune.cli import UserError
from mindtune.export.manifest import SIGNATURE
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


def test_who_was_certified_certifies_nobody(export, tmp_path):
    """Somebody with a certificate of the authority issues one with another's name."""
    authority = certified(tmp_path, "authority")
    mallory = leaf(tmp_path, "mallory", authority, "email:mallory@example.org")
    private, made = leaf(tmp_path, "forged", mallory)
    made.write_bytes(made.read_bytes() + mallory[1].read_bytes())
    sign(export, private, certificates=made)
    with pytest.raises(UserError, match="is not what somebody whom"):
        verify(export, None, authority[1], SIGNER)


@pytest.mark.parametrize("place", ["before", "behind", "beside", "within"])
def test_another_s_certificate_put_into_a_signature_gives_no_name(export, tmp_path, place):
    """Certificates are public: whoever has one of the same authority can copy the signer's in."""
    authority = certified(tmp_path, "authority")
    private, made = leaf(tmp_path, "signer", authority)
    sign(export, private, certificates=made)
    theirs = json.loads((export / SIGNATURE).read_text(encoding="utf-8"))["verificationMaterial"]
    (export / SIGNATURE).unlink()
    private, made = leaf(tmp_path, "mallory", authority, "email:mallory@example.org")
    sign(export, private, certificates=made)
    bundle = json.loads((export / SIGNATURE).read_text(encoding="utf-8"))
    material = bundle["verificationMaterial"]
    chain, copied = (part["x509CertificateChain"]["certificates"] for part in (material, theirs))
    if place in ("before", "behind"):
        chain[:] = copied + chain if place == "before" else chain + copied
    elif place == "beside":
        bundle = {"verification_material": material, **bundle, "verificationMaterial": theirs}
    else:
        material["x509_certificate_chain"] = theirs["x509CertificateChain"]
    (export / SIGNATURE).write_text(json.dumps(bundle), encoding="utf-8")
    with pytest.raises(UserError, match="was signed by mallory|is not what somebody whom"):
        verify(export, None, authority[1], SIGNER)
