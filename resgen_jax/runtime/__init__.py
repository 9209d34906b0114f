"""Floor 1: devices and processes: the mesh, slices, joining, agreeing, meeting, interruptions.

The one home-made protocol is `roll_call`; private names of jax are used in `processes` alone.
"""
