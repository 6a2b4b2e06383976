"""Answers to requests. Each is a pure function of the request, and of the script that applies to it."""
