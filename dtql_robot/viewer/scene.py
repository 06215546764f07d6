"""A MuJoCo model's visible shapes as triangle meshes, and where they are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtql_robot.types import Array

HALF_PLANE = 3.0  # metres shown of an endless floor, to each side
SHOWN = frozenset({0, 1, 2})
"""Groups of geometry that MuJoCo draws by default."""


@dataclass(frozen=True)
class Shape:
    """One visible geometry: index in the model, vertices (V, 3) in its own frame, faces (F, 3), colour, opacity."""

    index: int
    name: str
    vertices: Array
    faces: Array
    color: tuple[int, int, int]
    opacity: float


def visible_shapes(model: Any, hidden_groups: Collection[int] = ()) -> list[Shape]:
    """What is drawn of a model: everything in the groups of SHOWN that is not transparent."""
    shapes = []
    for index in range(model.ngeom):
        rgba = _rgba(model, index)
        if model.geom_group[index] not in SHOWN - frozenset(hidden_groups) or rgba[3] == 0:
            continue
        mesh = _mesh(model, index)
        if mesh is not None:
            color = tuple(round(255 * float(c)) for c in rgba[:3])
            name = f"{index}_{model.geom(index).name or 'geom'}"
            shapes.append(Shape(index, name, *mesh, color, float(rgba[3])))  # type: ignore[arg-type]
    return shapes


def _rgba(model: Any, index: int) -> Array:
    """The geometry's colour in [0, 1] and opacity; of a texture its mean."""
    import mujoco

    material = model.geom_matid[index]
    if material < 0:
        return model.geom_rgba[index]
    rgba, texture = model.mat_rgba[material].copy(), model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]
    if texture >= 0 and model.tex_nchannel[texture] >= 3:
        channels, first = model.tex_nchannel[texture], model.tex_adr[texture]
        pixels = model.tex_data[first : first + channels * model.tex_height[texture] * model.tex_width[texture]]
        rgba[:3] *= pixels.reshape(-1, channels)[:, :3].mean(axis=0) / 255
    return rgba


def poses(data: Any, shapes: list[Shape]) -> tuple[Array, Array]:
    """Where the shapes are now: positions (G, 3) and quaternions (G, 4), w first."""
    import mujoco

    indices = [shape.index for shape in shapes]
    quaternions = np.empty((len(indices), 4))
    for row, index in enumerate(indices):
        mujoco.mju_mat2Quat(quaternions[row], data.geom_xmat[index])
    return data.geom_xpos[indices].astype(np.float32), quaternions.astype(np.float32)


def _mesh(model: Any, index: int) -> tuple[Array, Array] | None:
    """Vertices and faces of a geometry in its own frame; None for kinds that are not shown (height fields)."""
    import mujoco
    from trimesh import creation

    kind, size = model.geom_type[index], model.geom_size[index]
    types = mujoco.mjtGeom
    if kind == types.mjGEOM_MESH:
        mesh = model.geom_dataid[index]
        first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        face, faces = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        return model.mesh_vert[first : first + count].copy(), model.mesh_face[face : face + faces].copy()
    if kind == types.mjGEOM_PLANE:
        x, y = (HALF_PLANE if half == 0 else half for half in size[:2])
        return np.array([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
    if kind == types.mjGEOM_BOX:
        made = creation.box(2 * size)
    elif kind == types.mjGEOM_SPHERE:
        made = creation.icosphere(2, size[0])
    elif kind == types.mjGEOM_ELLIPSOID:
        made = creation.icosphere(2, 1.0)
        made.apply_scale(size)
    elif kind == types.mjGEOM_CYLINDER:
        made = creation.cylinder(size[0], 2 * size[1], sections=24)
    elif kind == types.mjGEOM_CAPSULE:
        made = creation.capsule(2 * size[1], size[0], count=[12, 12])
        made.apply_translation(-made.bounds.mean(axis=0))
    else:
        return None
    return np.asarray(made.vertices), np.asarray(made.faces)
