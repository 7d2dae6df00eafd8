"""Print the instruction sets this machine has besides the fastest, one per line."""

from espalier import kernels

if __name__ == "__main__":
    available = [name for name, _, here in kernels.instruction_sets() if here]
    print("\n".join(available[1:]))
