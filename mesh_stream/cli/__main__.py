"""`python -m mesh_stream.cli`: how a supervisor starts its workers, whatever is on the path."""

from mesh_stream.cli import main

main()
