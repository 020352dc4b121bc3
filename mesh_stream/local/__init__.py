"""The embedded stack: a real Kafka broker and a real schema registry, with no Docker and no Java.

`stack` starts, finds and stops it; `broker` and `registry` say how each part is run; `process`
keeps them alive beyond the command that started them; `artifacts` brings what they are made of.
"""
