#!/usr/bin/env python3
"""Is the simulated machine honest? One step of docs/DURABILITY.md is left out at a time (mutants.txt), and the machine must notice."""
import argparse
import concurrent.futures
import glob
import os
import subprocess
import sys

FLAGS = '-std=gnu11 -O1 -g -w -fvisibility=hidden -ffp-contract=off -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude'.split()


class Mutant:
    def __init__(self, head):
        step, rest = head.split(' ', 1)
        self.file, self.what = (part.strip() for part in rest.split(':', 1))
        self.expected = not step.startswith('?')
        self.step = step.lstrip('?')
        self.reason, self.hunks = [], [([], [])]


def read(path):
    mutants = []
    for line in open(path):
        line = line.rstrip('\n')
        if line.startswith('@ '):
            mutants.append(Mutant(line[2:]))
        elif mutants and line.startswith('# '):
            mutants[-1].reason.append(line[2:])
        elif mutants and line.startswith('=='):
            mutants[-1].hunks.append(([], []))
        elif mutants and line[:1] in '-+' and line:
            mutants[-1].hunks[-1][line[0] == '+'].append(line[2:])
    return mutants


def mutate(mutant):
    text = open('src/' + mutant.file).read()
    for old, new in mutant.hunks:
        old, new = '\n'.join(old), '\n'.join(new)
        if text.count(old) != 1:
            sys.exit(f'mutants.txt: {mutant.step}: its text stands {text.count(old)} times in src/{mutant.file}:\n{old}')
        text = text.replace(old, new)
    return text


def hunt(build, mutant, rounds):
    """Builds the machine around the mutant and runs it: (caught, what the machine said)."""
    layer = mutant.file.split('/')[0]
    base = f'{build}/mutants/{mutant.step}'
    with open(base + '.c', 'w') as source:
        source.write(mutate(mutant))
    subprocess.run(['gcc', *FLAGS, f'-I{build}/include/{layer}', '-c', base + '.c', '-o', base + '.o'], check=True)
    original = f'{build}/obj/src/{mutant.file[:-2]}.o'
    objects = [name for name in glob.glob(f'{build}/obj/src/*/*.o') if '/src/os/' not in name and name != original]
    subprocess.run(['gcc', '-o', base, f'{build}/mutants/machine.o', base + '.o', *objects, '-lm'], check=True)
    result = subprocess.run([base, '--hunt', str(rounds)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    os.unlink(base)
    said = result.stdout.strip().split('\n')[-1] or f'ended by signal {-result.returncode}'
    return result.returncode != 0, said


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, epilog='Prints `ok - ` and `not ok - ` lines. To be started in the root of the tree.')
    parser.add_argument('build', help='a tree in which the library is built')
    parser.add_argument('steps', nargs='*', metavar='STEP', help='these alone, as mutants.txt calls them, without ?')
    parser.add_argument('--rounds', type=int, default=12, help='until one that must be noticed counts as missed (%(default)s); one that is not '
                        'expected to be noticed has a quarter of them')
    parser.add_argument('--look', action='store_true', help='build nothing: does each step still stand in the source?')
    given = parser.parse_args()
    mutants = read('tests/sim/mutants.txt')
    steps = [mutant.step for mutant in mutants]
    if len(set(steps)) < len(steps):
        parser.error(f'mutants.txt names {", ".join(sorted({step for step in steps if steps.count(step) > 1}))} twice')
    unknown = set(given.steps) - {mutant.step for mutant in mutants}
    if (not given.look and not os.path.isdir(given.build + '/obj/src')) or unknown:
        parser.error(f'no step {", ".join(sorted(unknown))} in mutants.txt' if unknown else f'{given.build}: nothing is built there')
    return given, [mutant for mutant in mutants if not given.steps or mutant.step in given.steps]


def main():
    given, mutants = arguments()
    build, rounds = given.build, given.rounds
    for mutant in mutants:
        mutate(mutant)
    if given.look:
        print(f'ok - {len(mutants)} steps of mutants.txt stand in the source')
        return 0
    os.makedirs(f'{build}/mutants', exist_ok=True)
    subprocess.run(['gcc', *FLAGS, '-Isrc', '-r', '-nostdlib', '-o', f'{build}/mutants/machine.o', *sorted(glob.glob('tests/sim/*.c'))], check=True)
    wrong, hints = 0, []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, (caught, said) in zip(mutants, pool.map(lambda one: hunt(build, one, rounds if one.expected else -(-rounds // 4)), mutants)):
            good = caught == mutant.expected
            wrong += not good
            print(f'{"ok" if good else "not ok"} - {mutant.step:5} {mutant.what}: {said}', flush=True)
            if not caught:
                hints.append(mutant)
    if hints:
        print('\nNo cut and no race shows these: are they needed?')
    for mutant in hints:
        print(f'  {mutant.step:5} {mutant.what}. {" ".join(mutant.reason)}')
    print(f'{len(mutants)} mutants, {len(mutants) - len(hints)} caught, {len(hints)} not')
    return wrong != 0


sys.exit(main())
