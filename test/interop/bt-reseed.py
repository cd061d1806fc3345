# libtorrent's half of bt-reseed-case.ts. "seed FOLDER HOST PORT": makes torrents of its own kinds and seeds them; prints their magnets as JSON.
# "leech FOLDER HOST PORT KITH_PORT NAME=MAGNET…": fetches them from Kith alone; prints "done NAME" for each.
import json, os, sys, time
import libtorrent as lt

role, folder, host, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
SETTINGS = {'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False, 'enable_incoming_utp': False,
            'enable_outgoing_utp': False, 'allow_multiple_connections_per_ip': True}
session = lt.session({**SETTINGS, 'listen_interfaces': '%s:%d' % (host, port)})
# v1 alone with pieces across files, v1 of one file, a hybrid folder, v2 alone
MAKE = [('v1-many', 32768, lt.create_torrent.v1_only), ('v1-one', 65536, lt.create_torrent.v1_only), ('hybrid', 65536, 0),
        ('v2-many', 16384, lt.create_torrent.v2_only)]
if role == 'seed':
    links = {}
    for name, piece, flags in MAKE:
        files = lt.file_storage()
        lt.add_files(files, os.path.join(folder, 'seed', name))
        made = lt.create_torrent(files, piece, flags)
        lt.set_piece_hashes(made, os.path.join(folder, 'seed'))
        info = lt.torrent_info(made.generate())
        add = lt.add_torrent_params()
        add.ti, add.save_path, add.flags = info, os.path.join(folder, 'seed'), lt.torrent_flags.seed_mode
        session.add_torrent(add)
        hashes = info.info_hashes()
        xt = (['urn:btih:' + str(hashes.v1)] if hashes.has_v1() else []) + (['urn:btmh:1220' + str(hashes.v2)] if hashes.has_v2() else [])
        links[name] = 'magnet:?' + '&'.join('xt=' + x for x in xt)
    while session.listen_port() == 0:
        time.sleep(0.01)
    print(json.dumps(links), flush=True)
    while True:
        time.sleep(1)

kith = (host, int(sys.argv[5]))
leeches = {}
for argument in sys.argv[6:]:
    name, link = argument.split('=', 1)
    add = lt.parse_magnet_uri(link)
    add.save_path = os.path.join(folder, 'leech', name)
    os.makedirs(add.save_path)
    leeches[name] = session.add_torrent(add)
while leeches:
    for name, handle in list(leeches.items()):
        status = handle.status()
        if status.is_seeding:
            print('done', name, flush=True)
            del leeches[name]
        elif status.errc.value() != 0:
            # A piece of a hybrid that was right by SHA-1 before the hashes of v2 came is an error to libtorrent now and then (its issue 6394).
            print('again', name, status.errc.message(), flush=True)
            handle.clear_error()
            handle.force_recheck()
        elif status.num_peers == 0:
            # As peer exchange would name us: one that speaks v2. By v1 alone libtorrent may wait for ever for the hashes of a hybrid.
            handle.connect_peer(kith, 0, 0x8d if name in ('hybrid', 'v2-many') else 0x0d)
    time.sleep(0.05)
