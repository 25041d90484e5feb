"""Where the work of a run is done: on the threads of this process, or on the workers of a cluster."""
