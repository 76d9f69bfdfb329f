"""Cuts the small golden file multislice.h5 out of the reference set (multislice.md tells how that was made).

    python tests/golden/multislice.py REFERENCE_FOLDER tests/golden/multislice.h5
"""

import sys
from pathlib import Path

import h5py

folder, target = Path(sys.argv[1]), sys.argv[2]
TILTS = [0, 9]  # of the scanned images: none, and the largest one on a diagonal
STRIDE = 4  # pixels of waves and potentials kept along each axis


def put(group, name, data):
    group.create_dataset(name, data=data, compression="gzip", shuffle=True)


with h5py.File(target, "w") as out:
    out.attrs["certificate"] = "see multislice.md"
    with h5py.File(folder / "public_potential.h5") as f:
        out.attrs["abtem_version"] = f.attrs["abtem_version"]
        group = out.create_group("potential")
        put(group, "k", f["k"][::20])
        for table in ("lobato", "kirkland"):
            for element, data in f[table].items():
                part = group.create_group(f"{table}/{element}")
                put(part, "fe", data["fe"][::20])
                grid = data["grid_exact_offgrid"]
                put(part, "grid_exact_offgrid", grid[::STRIDE, ::STRIDE])
                part["grid_exact_offgrid"].attrs["atom_xy_A"] = grid.attrs["atom_xy_A"]
    with h5py.File(folder / "public_exitwave.h5") as f:
        group = out.create_group("exitwave")
        for name in ("atoms/cell", "atoms/numbers", "atoms/positions", "tilts_mrad"):
            put(group, name, f[name][:])
        atoms = group["atoms"]  # all files hold the same crystal; the others get links
        put(group, "psi_exact", f["psi_exact"][..., ::STRIDE, ::STRIDE])
    with h5py.File(folder / "public_probe.h5") as f:
        group = out.create_group("probe")
        put(group, "positions_A", f["positions_A"][:])
        put(group, "psi", f["psi"][..., ::STRIDE, ::STRIDE])
    with h5py.File(folder / "public_images.h5") as f:
        group = out.create_group("images")
        group["atoms"] = atoms
        put(group, "scan_positions_A", f["scan_positions_A"][:])
        put(group, "tilts_mrad", f["tilts_mrad"][TILTS])
        put(group, "images_exact", f["images_exact"][TILTS])
    with h5py.File(folder / "public_phonon.h5") as f:
        group = out.create_group("phonon")
        group["atoms"] = atoms
        put(group, "positions", f["positions"][:1])
        put(group, "tilt_mrad", f["tilt_mrad"][:])
        put(group, "images_exact", f["images_exact"][:1])
