"""Whether a certificate is for a name, as mbedTLS sees it (x509_crt.c, x509_crt_verify_name())."""

import ipaddress

from cryptography import x509

from host_tools.anchor.reading import Reading


def is_for(leaf: Reading, name: str) -> bool:
    """By its subjectAltName, or by its common name where it has none."""
    asked, names = name.encode(), leaf.alternative
    if names is None:
        return any(_matches(each, asked) for each in leaf.common_names())
    if any(_matches(each.encode(), asked) for each in names.get_values_for_type(x509.DNSName)):
        return True
    if name in names.get_values_for_type(x509.UniformResourceIdentifier):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address in names.get_values_for_type(x509.IPAddress)


def _matches(pattern: bytes, name: bytes) -> bool:
    pattern, name = pattern.lower(), name.lower()
    if pattern == name:
        return True
    # A wildcard stands for exactly one label, and not for all of a name.
    label, _, parent = name.partition(b".")
    return bool(label and parent) and pattern == b"*." + parent
