# libtorrent's half of bt-v2-case.ts: seeds torrents that it made itself, and fetches one of ours by each of its hashes.
# Arguments: host, our own port, folder, port of the Kith seeder, then "name=magnet" for each way to fetch.
# Prints a JSON line with the magnets of what it seeds, then "done NAME" for each fetched file.
import json, os, sys, time
import libtorrent as lt

host, port, folder, kith_port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
SETTINGS = {'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False, 'enable_incoming_utp': False,
            'enable_outgoing_utp': False, 'allow_multiple_connections_per_ip': True}
session = lambda p: lt.session({**SETTINGS, 'listen_interfaces': '%s:%d' % (host, p)})

MAKE = [('hybrid', 65536, 0), ('one', 16384, lt.create_torrent.v2_only), ('many', 65536, lt.create_torrent.v2_only)]
seeder = session(port)
links = {}
for name, piece, flags in MAKE:
    files = lt.file_storage()
    lt.add_files(files, os.path.join(folder, 'seed', name))
    made = lt.create_torrent(files, piece, flags)
    lt.set_piece_hashes(made, os.path.join(folder, 'seed'))
    path = os.path.join(folder, name + '.torrent')
    with open(path, 'wb') as out:
        out.write(lt.bencode(made.generate()))
    info = lt.torrent_info(path)
    add = lt.add_torrent_params()
    add.ti, add.save_path, add.flags = info, os.path.join(folder, 'seed'), lt.torrent_flags.seed_mode
    seeder.add_torrent(add)
    links[name] = 'magnet:?xt=urn:btmh:1220' + str(info.info_hashes().v2)
while seeder.listen_port() == 0:
    time.sleep(0.01)
print(json.dumps(links), flush=True)

leeches = {}
for i, argument in enumerate(sys.argv[5:]):
    name, link = argument.split('=', 1)
    s = session(port + 1 + i)
    add = lt.parse_magnet_uri(link)
    add.save_path = os.path.join(folder, 'leech', name)
    os.makedirs(add.save_path)
    leeches[name] = (s, s.add_torrent(add))
while True:
    for name, (s, handle) in list(leeches.items()):
        status = handle.status()
        if status.is_seeding:
            print('done', name, flush=True)
            del leeches[name]
        elif status.num_peers == 0:
            handle.connect_peer((host, kith_port))
    time.sleep(0.05)
