"""TLS to receivers: TLS 1.2 or later, names and certificates always checked."""

import ssl

from pipeline.tools.outputs.sending import Retry
from schemas.outputs import OutputEntry


def context(output: OutputEntry) -> ssl.SSLContext:
    """A context that trusts the system's certificates or those of `ca_file`; Retry where a file cannot be used."""
    try:
        made = ssl.create_default_context(cafile=output.ca_file)
        if output.certificate_file and output.key_file:
            made.load_cert_chain(output.certificate_file, output.key_file, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise Retry(
            f"certificates of {output.name}: got {reason(error)}",
            "correct ca_file, certificate_file and key_file: PEM, and a key without a password",
        ) from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _no_password() -> str:
    """Never ask at the terminal."""
    raise ssl.SSLError("a key with a password")


def reason(error: OSError) -> str:
    """A connection's or file's error in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"a certificate that does not verify ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"a TLS error ({error.reason or error})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error) or type(error).__name__


def remedy(error: OSError) -> str:
    """What a person can do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "name the receiver's CA in ca_file, and its host as its certificate has it"
    if isinstance(error, ssl.SSLError):
        return "compare the port and the TLS settings of both sides"
    return "check that the receiver runs, its address, and what lies between"
