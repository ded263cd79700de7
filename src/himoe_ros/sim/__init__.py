"""MuJoCo scenes and tasks that stand in for the robots."""

from ..core.errors import SimulationError

GL_HINT = (
    "MUJOCO_GL chooses how MuJoCo draws: 'egl' (no display needed, uses a GPU where there is one), "
    "'osmesa' (no display, CPU) or 'glfw' (a desktop; what MuJoCo takes when it is unset). Without "
    "a display run: apt-get install libegl1 libosmesa6 libgl1, then export MUJOCO_GL=egl before "
    "Python starts. MUJOCO_GL=disable runs the physics alone."
)

try:
    import mujoco as _mujoco  # noqa: F401
except (AttributeError, ImportError, RuntimeError) as error:
    # A missing library is told in many ways, and a wrong MUJOCO_GL in another.
    raise SimulationError(f"MuJoCo cannot load the GL library it was told to use. {GL_HINT}") from error
