"""`anchorcam undeploy`: remove from a camera exactly what was deployed to it."""

from broker.errors import UserError
from host_tools.bootstrap import step
from host_tools.deploy import application, ports, transfer
from host_tools.deploy.deploying import Force, Job, compare
from host_tools.deploy.progress import Bars
from host_tools.deploy.stopping import PortOption, stopped


def undeploy(port: PortOption = None, force: Force = False) -> None:
    """Remove what was deployed; what the camera itself has written (state, spool) stays."""
    with stopped(ports.choose(port), lambda device, about: None) as camera:
        device = camera.device
        manifest = application.manifest(device)
        if manifest is None:
            raise UserError("nothing on this camera was deployed by anchorcam: nothing is removed")
        made = compare(device, Job({}, manifest.camera, ""), force)
        for path in made.edited:
            print(f"kept      {path}: it was changed on the camera; --force removes it too")
        with step("remove", counts=False) as current:
            with Bars(0) as bars:
                transfer.deploy(device, {}, made, None, bars)
            if camera.facts.card_shadows:
                transfer.remove_card_boot(device)
            current.say(f"{len(made.removed)} files of {manifest.camera}")
        camera.start()
    print("the camera is at its prompt; state/ (its boot counter) and the spool are as they were")
