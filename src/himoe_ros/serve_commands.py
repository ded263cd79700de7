"""`himoe serve`: a policy for robots whose computer does not run it."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from .core.embodiment import load_embodiment
from .options import add_command
from .resources import config, is_preset, policy_place, require_policy, trained_space


def add_serve_command(commands) -> None:
    """Add `serve` to the subparsers of `himoe`."""
    text = "serve a policy over openpi's websocket protocol; robots use it with --policy ws://HOST:PORT"
    serve = add_command(commands, "serve", _serve, text)
    serve.add_argument("policy", help="shipped policy, policy folder, org/name on Hugging Face, or preset")
    serve.add_argument("--robot", default="xarm7", help="embodiment")
    serve.add_argument("--action-space", default="", help="of the embodiment; the policy's own without it")
    serve.add_argument("--host", default="127.0.0.1", help="address; other than loopback needs a token")
    serve.add_argument("--port", type=int, default=8000, help="0 for any free one")
    serve.add_argument("--token-file", default="", help="file with the token that clients must send")
    serve.add_argument("--certificate", type=Path, help="PEM file, for wss")
    serve.add_argument("--key", type=Path, help="PEM file of the certificate's key")
    serve.add_argument("--clients", type=int, default=16, help="at a time, at most")
    serve.add_argument("--together", type=int, default=4, help="observations planned from at once, at most")
    serve.add_argument("--largest-mb", type=float, default=16.0, help="of a message")
    serve.add_argument("--device", default="", help="cpu or cuda; without it a GPU where there is one")
    serve.add_argument("--expert-weights", default="", help="as of himoe up")
    serve.add_argument("--threads", type=int, default=0, help="of torch; 0 for its own choice")


def _serve(options: argparse.Namespace) -> int:
    import torch  # noqa: PLC0415 - slow to import

    from .policy.device import chosen_device  # noqa: PLC0415
    from .policy.local import load_policy, untrained_policy  # noqa: PLC0415
    from .policy.server import PolicyServer, Terms  # noqa: PLC0415
    from .policy.wire import read_token  # noqa: PLC0415

    if options.threads:
        torch.set_num_threads(options.threads)
    embodiment = load_embodiment(options.robot, config("embodiments"))
    space = embodiment.action_space(
        options.action_space or trained_space(options.policy) or next(iter(embodiment.action_spaces))
    )
    terms = Terms(
        host=options.host,
        port=options.port,
        token=read_token(options.token_file),
        certificate=options.certificate,
        key=options.key,
        largest_bytes=round(options.largest_mb * 1e6),
        clients=options.clients,
        together=options.together,
    )
    where = {"device": chosen_device(options.device), "expert_weights": options.expert_weights}
    require_policy(options.policy)
    if is_preset(options.policy):
        policy = untrained_policy(options.policy, config("models"), embodiment, space, **where)
    else:
        policy = load_policy(policy_place(options.policy), embodiment, space, **where)
    server = PolicyServer(policy, embodiment, terms)
    policy.warm_up()

    async def serve() -> None:
        ending = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ending.set)

        def tell() -> None:
            place = f"{'wss' if options.certificate else 'ws'}://{options.host}:{server.port}"
            print(f"{policy.description}: serving at {place}; Ctrl-C ends it", flush=True)

        await server.run(ending, tell)

    asyncio.run(serve())
    return 0
