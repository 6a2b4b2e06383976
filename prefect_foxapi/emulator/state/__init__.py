"""What the emulator remembers: generations, accounts, uploads, fault rules and time."""
