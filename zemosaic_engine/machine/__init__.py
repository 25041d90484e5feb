"""The machine: devices, memory, threads and library versions."""
