/** The heap of a benchmark's process grows as that of the program does (src/cli/main.ts): shorter pauses, and less memory. */
import { setFlagsFromString } from 'node:v8'

export const heapAsInProgram = (): void => setFlagsFromString('--semi-space-growth-factor=1')
