"""Did what was expected arrive, and if not, why, as far as it is known. Pure."""

from broker.errors import UserError
from host_tools.watch.seen import CameraView
from host_tools.watch.subscriber import View
from host_tools.watch.verdicts import VERIFIED, Verdict


def verified(view: View) -> int:
    """How many different snapshots of this run are here and proven."""
    return _sum(view, *VERIFIED)


def conclude(view: View, expect: int) -> str:
    """The line that says that so many were verified. Raises UserError when they were not."""
    done = verified(view)
    if done < expect:
        raise UserError(f"{done} of {expect} snapshots verified: {why(view)}")
    cameras = ", ".join(camera.name for camera in view.cameras if _sum_of(camera, *VERIFIED))
    return f"{done} {'snapshot' if done == 1 else 'snapshots'} verified, of {cameras}"


def why(view: View) -> str:
    """The best known reason why no more has come."""
    if not view.was_connected:
        return f"never connected: {view.trouble or f'{view.address} has not answered yet'}"
    if view.trouble:
        return view.trouble
    refused = _sum(view, Verdict.CORRUPT, Verdict.UNVERIFIABLE)
    faults = [camera.fault for camera in view.cameras if camera.fault]
    if refused and faults:
        return f"{refused} more came and could not be verified; of the last, {faults[-1]}"
    if not view.cameras:
        return "connected, but no camera has sent anything; switch one on, or check its prefix"
    return "connected, but nothing more came; " + "; ".join(map(_state, view.cameras))


def _state(camera: CameraView) -> str:
    said = {None: "has said nothing", True: "is online", False: "is offline"}[camera.online]
    error = camera.health.last_error
    return f"{camera.name} {said}" + (f", its last error: {error}" if error else "")


def _sum(view: View, *verdicts: Verdict) -> int:
    return sum(_sum_of(camera, *verdicts) for camera in view.cameras)


def _sum_of(camera: CameraView, *verdicts: Verdict) -> int:
    return sum(camera.run[verdict] for verdict in verdicts)
