"""Why something failed: the one table of reason codes, and the exception that carries one."""

# Telemetry carries these codes and never an exception's text: some firmware puts the
# Wi-Fi key into it. The texts are what a person reads beside the code. Pure.
REASONS = {
    "link": "the Wi-Fi or Ethernet link did not come up",
    "clock_unset": "no clock server gave a time that can be believed",
    "dns": "the broker's name was not found",
    "refused": "nothing listens at the broker's port, or a firewall refuses",
    "timeout": "an answer did not come in time",
    "not_yet_valid": "a certificate is not valid yet (is the clock right?)",
    "expired": "a certificate has expired",
    "untrusted": "the broker's chain does not lead to the anchor",
    "name_mismatch": "the broker's certificate is for another name",
    "pin_mismatch": "the broker's certificate is not one that is pinned",
    "anchor": "the anchor file is missing or is not one DER certificate",
    "client_cert": "the camera's own certificate or its key is missing or cannot be used",
    "tls": "the TLS connection failed",
    "auth": "the broker refused the account or its password",
    "broker_closed": "the broker closed the connection",
    "protocol": "the broker sent what MQTT does not allow",
    "memory": "there was not enough memory",
    "camera": "the image sensor gave no frame",
    "spool": "a snapshot could not be stored",
    "internal": "an error in this program",
}


class CameraError(Exception):
    """A failure with its reason code.

    code: a key of REASONS. detail: for the log on the camera only.
    """

    def __init__(self, code, detail=""):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self):
        text = self.code + ": " + REASONS[self.code]
        return text + " (" + self.detail + ")" if self.detail else text


def code_of(error):
    """The reason code of any exception."""
    if isinstance(error, CameraError):
        return error.code
    if isinstance(error, MemoryError):
        return "memory"
    return "internal"
